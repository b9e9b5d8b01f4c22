"""What is told of the sinks themselves: each turn once, whichever replica sees it, restarts included."""

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
"""In place of null, which equals nothing and so would let the unique constraint pass every repeat."""


class SinkEvents:
    """Implements ports.SinkEvents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def last_condition(self, sink: str) -> SinkCondition:
        """What was last told of the sink; revision 0 where nothing was."""
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
    async def commit(self, news: SinkEvent) -> bool:
        """Write event and deliveries; False, and nothing is written, where something else was told last."""
        try:
            async with self._database.write() as connection:
                await self._write(connection, news)
                reached(Boundary.SINK_EVENT_WRITTEN)
        except StaleSnapshot:
            return False
        reached(Boundary.SINK_EVENT_COMMITTED)
        return True

    async def _write(self, connection: AsyncConnection, news: SinkEvent) -> None:
        uid, revision = _uid(news.sink), news.condition.revision
        newest = await connection.scalar(
            select(func.max(events.c.revision)).where(
                events.c.controller == _NO_CONTROLLER, events.c.job_uid == uid
            )
        )
        if (newest or 0) != revision - 1:
            raise StaleSnapshot(f"{uid}: revision {newest} is the newest")
        now = self._database.clock()
        row = event_row(news.event, (uid, revision), now) | {"controller": _NO_CONTROLLER}
        try:
            await connection.execute(insert(events), [row])
        except IntegrityError as error:  # another replica's transaction ended between the look and this
            raise StaleSnapshot(f"{uid}: told by another replica") from error
        await connection.execute(
            insert(deliveries), [delivery_row(new, None, now) for new in news.deliveries]
        )


def _uid(sink: str) -> str:
    return f"sink:{sink}"
