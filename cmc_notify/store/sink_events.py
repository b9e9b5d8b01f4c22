"""Events about the sinks themselves: each change once, whichever replica sees it, also after a restart."""

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.core import events as documents
from cmc_notify.core.sink_health import SinkCondition, SinkEvent
from cmc_notify.errors import StaleSnapshot
from cmc_notify.store.engine import Database
from cmc_notify.store.rows import delivery_row, event_row
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.tables import deliveries, events

_NO_CONTROLLER = ""
"""Stored instead of null, which equals nothing: the unique constraint would let every repeat pass."""


class SinkEvents:
    """Implements ports.SinkEvents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def last_condition(self, sink: str) -> SinkCondition:
        """Return the condition that was last announced for the sink; revision 0 if none was."""
        async with self._database.read() as connection:
            newest = await connection.execute(
                select(events.c.revision, events.c.document)
                .where(events.c.controller == _NO_CONTROLLER, events.c.job_uid == _uid(sink))
                .order_by(events.c.revision.desc())
                .limit(1)
            )
            row = newest.one_or_none()
        if row is None:
            return SinkCondition()
        return SinkCondition(row.revision, documents.decode(row.document).since)

    @runs_to_completion
    async def commit(self, new: SinkEvent) -> bool:
        """Write event and deliveries; False if another event came first; then nothing is written."""
        try:
            async with self._database.write() as connection:
                await self._write(connection, new)
                reached(Boundary.SINK_EVENT_WRITTEN)
        except StaleSnapshot:
            return False
        reached(Boundary.SINK_EVENT_COMMITTED)
        return True

    async def _write(self, connection: AsyncConnection, new: SinkEvent) -> None:
        uid, revision = _uid(new.sink), new.condition.revision
        newest = await connection.scalar(
            select(func.max(events.c.revision)).where(
                events.c.controller == _NO_CONTROLLER, events.c.job_uid == uid
            )
        )
        if (newest or 0) != revision - 1:
            raise StaleSnapshot(f"{uid}: revision {newest} is the newest")
        now = self._database.clock()
        row = event_row(new.event, (uid, revision), now) | {"controller": _NO_CONTROLLER}
        try:
            await connection.execute(insert(events), [row])
        except IntegrityError as error:  # another replica's transaction ended in between
            raise StaleSnapshot(f"{uid}: another replica announced it") from error
        await connection.execute(
            insert(deliveries), [delivery_row(delivery, None, now) for delivery in new.deliveries]
        )


def _uid(sink: str) -> str:
    return f"sink:{sink}"
