"""Changes that a manual retry makes in addition to the deliveries that it makes due."""

from collections.abc import Collection, Mapping

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.core.delivery import DeliveryState, Purpose
from cmc_notify.store.engine import in_chunks
from cmc_notify.store.tables import deliveries, delivery_parts

_ANNOUNCING = (Purpose.NOTIFY.value, Purpose.CLOSE.value)


async def forget_parts(connection: AsyncConnection, delivery_ids: Collection[str]) -> None:
    """Forget the accepted parts, so that all of each message is sent again."""
    for chunk in in_chunks(delivery_ids):
        await connection.execute(delivery_parts.delete().where(delivery_parts.c.delivery_id.in_(chunk)))


async def close_again(
    connection: AsyncConnection, retried: Mapping[tuple[str, str], int], *, now: float
) -> None:
    """Make the newest delivery about each (sink, subject) due again if it is a close that was sent.

    ``retried`` gives the ``seq`` of the retried delivery. A ticket that could not be opened was not there to
    be closed. Reads once what came later for these sinks: a manual retry may cost that.
    """
    newest: dict[tuple[str, str], tuple[str, bool]] = {}
    sinks = {sink for sink, _ in retried}
    for sink in sorted(sinks):
        subjects = {subject for at, subject in retried if at == sink}
        since = min(seq for (at, _), seq in retried.items() if at == sink)
        for chunk in in_chunks(subjects):
            later = await connection.execute(
                select(deliveries.c.id, deliveries.c.subject, deliveries.c.purpose, deliveries.c.state)
                .where(deliveries.c.sink == sink, deliveries.c.seq >= since)
                .where(deliveries.c.subject.in_(chunk), deliveries.c.purpose.in_(_ANNOUNCING))
                .order_by(deliveries.c.seq)
            )
            for row in later:
                ended = row.purpose == Purpose.CLOSE.value and row.state == DeliveryState.SENT.value
                newest[sink, row.subject] = (row.id, ended)
    ends = [delivery_id for delivery_id, ended in newest.values() if ended]
    await forget_parts(connection, ends)
    for chunk in in_chunks(ends):
        await connection.execute(
            update(deliveries)
            .where(deliveries.c.id.in_(chunk))
            .values(
                state=DeliveryState.PENDING.value,
                due_at=now,
                deadline_at=now + deliveries.c.patience,
                finished_at=None,
            )
        )
