"""What another sink is told in a sink's place, written together with the end of what it stands for.

Only once: where the other sink was told of this event and subject already, that stands. What a delivery
waited for, the other sink is told first too: a resolve overtakes no trigger there.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Select, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.core import events as documents
from cmc_notify.core.delivery import NewDelivery
from cmc_notify.store.engine import Database
from cmc_notify.store.rows import delivery_row, shown_of, wait_rows
from cmc_notify.store.tables import deliveries, delivery_waits, events

_awaited = deliveries.alias("awaited")
_there = deliveries.alias("there")


async def hand_over(database: Database, connection: AsyncConnection, dead: str, copy: NewDelivery) -> None:
    """``copy`` takes the place of ``dead``."""
    triggers = await connection.scalars(_triggers(dead, copy.sink, _there.c.id))
    await _write(database, connection, copy, triggers)


async def follow(database: Database, connection: AsyncConnection, sent: str, copy: NewDelivery) -> None:
    """``sent`` was told where it should be; ``copy`` tells it to a sink that was handed, in its place, some
    of the failures that are over now: those of them that this sink was shown, and nothing without any.
    """
    columns = (_there.c.id, _there.c.shown, events.c.document)
    failures = _triggers(sent, copy.sink, *columns).join(events, events.c.id == _there.c.event_id)
    told = (await connection.execute(failures)).all()
    if not told:
        return
    pairs: set[tuple[str | None, int | None]] = set()
    for row in told:
        opening, shown = documents.decode(row.document), shown_of(row.shown)
        seen = opening.failures if shown is None else [opening.failures[i] for i in shown]
        pairs.update((failure.serial, failure.feature_id) for failure in seen)
    document = await connection.scalar(select(events.c.document).where(events.c.id == copy.event_id))
    over = documents.decode(document).recoveries if document else ()
    wanted = range(len(over)) if copy.shown is None else copy.shown
    if shown := tuple(i for i in wanted if (over[i].serial, over[i].feature_id) in pairs):
        copy = msgspec.structs.replace(copy, shown=None if len(shown) == len(over) else shown)
        await _write(database, connection, copy, [row.id for row in told])


def _triggers(delivery: str, sink: str, *columns: Any) -> Select[Any]:
    """What ``sink`` was told of the events that ``delivery`` waited for at its own sink."""
    return (
        select(*columns)
        .select_from(_there)
        .join(_awaited, _awaited.c.event_id == _there.c.event_id)
        .join(delivery_waits, delivery_waits.c.waits_for == _awaited.c.id)
        .where(delivery_waits.c.delivery_id == delivery, _there.c.sink == sink)
    )


async def _write(
    database: Database, connection: AsyncConnection, copy: NewDelivery, triggers: Iterable[str]
) -> None:
    controller = await connection.scalar(
        select(func.nullif(events.c.controller, "")).where(events.c.id == copy.event_id)
    )
    row = delivery_row(copy, controller, database.clock())
    added = await connection.execute(database.insert_missing(deliveries).values(**row))
    if not added.rowcount:
        return
    waits_for = (*copy.waits_for, *triggers)
    if waits := wait_rows([msgspec.structs.replace(copy, waits_for=waits_for)]):
        await connection.execute(insert(delivery_waits), waits)
