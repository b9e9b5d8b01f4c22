"""Deliveries to a sink's fallback, written together with the end of the delivery that they replace.

Each event is sent to the fallback only once: what the fallback gets of this event anyway is not sent again.
What a delivery waited for goes to the fallback first too: a resolve overtakes no trigger there.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.core import events as documents
from cmc_notify.core.delivery import DeliveryState, NewDelivery, Purpose
from cmc_notify.store.engine import Database
from cmc_notify.store.rows import delivery_row, shown_of, wait_rows
from cmc_notify.store.tables import deliveries, delivery_waits, events, pending, postings

_awaited = deliveries.alias("awaited")
_there = deliveries.alias("there")
_notifies = deliveries.c.purpose == Purpose.NOTIFY.value


async def send_to_fallback(
    database: Database, connection: AsyncConnection, dead: str, copy: NewDelivery
) -> None:
    """Write ``copy`` in place of ``dead``.

    If ``copy`` shows all, it shows what this and the other unsent deliveries of the event at the sink show:
    one message for many tickets shows no more than these would have.
    """
    if copy.subject == f"event:{copy.event_id}":
        here = (deliveries.c.sink == copy.sink, deliveries.c.subject == copy.subject)
        if await _shown(connection, copy.event_id, *here):
            return  # the first of thousands of dead tickets sent all of them
    if copy.shown is None:
        ours = select(deliveries.c.sink).where(deliveries.c.id == dead).scalar_subquery()
        given_up = (DeliveryState.PENDING.value, DeliveryState.DEAD.value)
        others = await _shown(
            connection, copy.event_id, deliveries.c.sink == ours, _notifies, deliveries.c.state.in_(given_up)
        )
        if others and None not in others:
            copy = msgspec.structs.replace(
                copy, shown=tuple(sorted({i for each in others for i in each or ()}))
            )
    triggers = await connection.scalars(_triggers(dead, copy.sink, _there.c.id))
    await _write(database, connection, copy, triggers)


async def send_end_to_fallback(
    database: Database, connection: AsyncConnection, sent: str, copy: NewDelivery
) -> None:
    """Write ``copy`` for a fallback that was sent, in place of the sink, some of what is over now.

    ``sent`` is the delivery that arrived at the sink. Of failures, ``copy`` shows those that the fallback was
    shown; nothing is written if there are none.
    """
    document = await connection.scalar(select(events.c.document).where(events.c.id == copy.event_id))
    over = documents.decode(document).recoveries if document else ()
    if not over:
        await _close(database, connection, copy)
        return
    columns = (_there.c.id, _there.c.shown, events.c.document)
    failures = _triggers(sent, copy.sink, *columns).join(events, events.c.id == _there.c.event_id)
    notified = (await connection.execute(failures)).all()
    if not notified:
        return
    pairs: set[tuple[str | None, int | None]] = set()
    for row in notified:
        opening, shown = documents.decode(row.document), shown_of(row.shown)
        seen = opening.failures if shown is None else [opening.failures[i] for i in shown]
        pairs.update((failure.serial, failure.feature_id) for failure in seen)
    wanted = range(len(over)) if copy.shown is None else copy.shown
    if shown := tuple(i for i in wanted if (over[i].serial, over[i].feature_id) in pairs):
        copy = msgspec.structs.replace(copy, shown=None if len(shown) == len(over) else shown)
        await _write(database, connection, copy, [row.id for row in notified])


async def _close(database: Database, connection: AsyncConnection, copy: NewDelivery) -> None:
    """Write ``copy`` if it closes a ticket that was opened at the fallback, or is about to be."""
    opening = await connection.scalar(
        select(deliveries.c.id)
        .where(
            pending(), deliveries.c.sink == copy.sink, deliveries.c.ordering_key == copy.subject, _notifies
        )
        .limit(1)
    )
    posting_open = await connection.scalar(
        select(postings.c.open).where(postings.c.sink == copy.sink, postings.c.subject == copy.subject)
    )
    if opening is not None or posting_open:
        await _write(database, connection, copy, ())


def _triggers(delivery: str, sink: str, *columns: Any) -> Select[Any]:
    """Select what ``sink`` was sent of the events that ``delivery`` waited for at its own sink."""
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
    rest = await _not_yet_notified(connection, copy) if copy.unless_notified else copy
    if rest is None:
        return
    controller = await connection.scalar(
        select(func.nullif(events.c.controller, "")).where(events.c.id == copy.event_id)
    )
    row = delivery_row(rest, controller, database.clock())
    added = await connection.execute(database.insert_missing(deliveries).values(**row))
    if not added.rowcount:
        return
    waits_for = (*rest.waits_for, *triggers)
    if waits := wait_rows([msgspec.structs.replace(rest, waits_for=waits_for)]):
        await connection.execute(insert(delivery_waits), waits)


async def _not_yet_notified(connection: AsyncConnection, copy: NewDelivery) -> NewDelivery | None:
    """Return ``copy`` with what no other delivery sends its sink of the event; None if that is nothing."""
    here = deliveries.c.sink == copy.sink
    notified = await _shown(connection, copy.event_id, here, _notifies)
    if notified:
        found = await connection.execute(select(events.c.document).where(events.c.id == copy.event_id))
        event = documents.decode(found.scalar_one())
        wanted = range(len(event.recoveries or event.failures)) if copy.shown is None else copy.shown
        known = {i for shown in notified for i in (wanted if shown is None else shown)}
        if not (rest := tuple(i for i in wanted if i not in known)):
            return None
        copy = msgspec.structs.replace(copy, shown=rest)
    if await _shown(connection, copy.event_id, here, deliveries.c.subject == copy.subject):
        # The delivery about the subject shows another part, or only follows: this is a separate message.
        subject = f"event:{copy.id}"
        copy = msgspec.structs.replace(copy, subject=subject, ordering_key=subject)
    return copy


async def _shown(
    connection: AsyncConnection, event_id: str, *which: ColumnElement[bool]
) -> list[tuple[int, ...] | None]:
    """Return what each of these deliveries of the event shows."""
    rows = await connection.scalars(
        select(deliveries.c.shown).where(deliveries.c.event_id == event_id, *which)
    )
    return [shown_of(column) for column in rows]
