"""Supersede pending ``job.progress`` of a job when a newer event is queued behind it.

Only ``job.progress`` is ever left out, and only behind a pending delivery of the same sink and ordering key:
the reader gets the newest state, and every change except interim progress.
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.store.engine import in_chunks
from cmc_notify.store.tables import deliveries, events, pending

_newer = deliveries.alias("newer")


async def supersede(
    connection: AsyncConnection,
    sinks: Collection[str],
    ordering_keys: Collection[str],
    *,
    now: float,
    lease_now: float | None = None,
) -> frozenset[str]:
    """End outdated progress among these sinks' deliveries of these keys; returns the ids.

    Deliveries that are being sent stay; with ``lease_now``, leases that ended by then do not count.
    Reads only what is pending under these keys, however much else is.
    """
    superseded: set[str] = set()
    free: ColumnElement[bool] = deliveries.c.leased_until.is_(None)
    if lease_now is not None:
        free = or_(free, deliveries.c.leased_until <= lease_now)
    for chunk in in_chunks(ordering_keys):
        ended = await connection.scalars(
            update(deliveries)
            .where(pending(), deliveries.c.sink.in_(sinks), deliveries.c.ordering_key.in_(chunk), free)
            .where(_is_progress(), _has_newer_pending())
            .values(state=DeliveryState.SUPERSEDED.value, finished_at=now, leased_by=None, leased_until=None)
            .returning(deliveries.c.id)
        )
        superseded.update(ended)
    return frozenset(superseded)


async def lock_progress(
    connection: AsyncConnection, sinks: Collection[str], ordering_keys: Collection[str]
) -> None:
    """Keep others from recording results of progress under these keys until this transaction ends.

    On PostgreSQL, an attempt that ends while a newer event is being committed would otherwise not see that
    event, nor be seen by it: the event would wait behind the progress until that is due again.
    """
    for chunk in in_chunks(ordering_keys):
        await connection.execute(
            select(deliveries.c.seq)
            .where(pending(), deliveries.c.sink.in_(sinks), deliveries.c.ordering_key.in_(chunk))
            .where(_is_progress())
            .order_by(deliveries.c.seq)
            .with_for_update(key_share=True, of=deliveries)
        )


def _is_progress() -> ColumnElement[bool]:
    return exists().where(events.c.id == deliveries.c.event_id, events.c.type == EventType.JOB_PROGRESS.value)


def _has_newer_pending() -> ColumnElement[bool]:
    return exists().where(
        pending(_newer),
        _newer.c.sink == deliveries.c.sink,
        _newer.c.ordering_key == deliveries.c.ordering_key,
        _newer.c.seq > deliveries.c.seq,
    )
