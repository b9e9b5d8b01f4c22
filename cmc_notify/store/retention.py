"""Retention: old rows are deleted, and deliveries for removed sinks are ended.

In small transactions, so that polls and deliveries can go on at the same time.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, exists, or_, select, tuple_, update

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.leader_balance import sender_name
from cmc_notify.store.engine import Database
from cmc_notify.store.leadership import served_recently
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.tables import (
    acknowledgements,
    actions,
    deliveries,
    events,
    failures,
    jobs,
    pending,
    postings,
    silences,
)

_BATCH = 500
UNSERVED_AFTER = 600.0
"""Seconds that a delivery must have been due before one of several replicas treats its sink as removed:
another replica with a newer config, and one more sink, may not have registered yet that it serves the sink.
"""
_later = events.alias("later")


class Retention:
    """Implements ports.Housekeeping."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def forget(self, *, before: float) -> int:
        """Delete what finished, closed, ended or left the full lists before ``before``. Returns rows deleted.

        Kept are: pending deliveries and their events; the events that opened open failures, with their
        deliveries; ``sink.failing`` events until the recovery is announced; open tickets; and each job that
        the controller still lists or that an open failure or a kept event refers to, with its postings. If
        such a job were new when it comes back, its revisions would begin again, and events with revisions
        that are announced already could never be committed.
        """
        finished = (deliveries.c.finished_at < before) & ~_opened_failure(deliveries.c.event_id)
        # An event is deleted once nothing refers to it, so deliveries are deleted first.
        undelivered = ~exists().where(deliveries.c.event_id == events.c.id)
        announced = (
            (events.c.created_at < before) & undelivered & ~_opened_failure(events.c.id) & ~_is_unrecovered()
        )
        return (
            await self._delete(deliveries, finished)
            + await self._delete(events, announced)
            + await self._delete(failures, failures.c.closed_at < before)
            + await self._delete(actions, actions.c.at < before)
            + await self._delete(jobs, (jobs.c.unlisted_at < before) & ~jobs.c.open & ~_is_referred_to())
            + await self._delete(postings, (postings.c.changed_at < before) & ~_is_open_or_of_kept_job())
            + await self._delete(acknowledgements, (acknowledgements.c.at < before) & ~_has_posting())
            + await self._delete(silences, silences.c.ends_at < before)
        )

    @runs_to_completion
    async def end_unserved(self, served: Collection[str]) -> Mapping[str, int]:
        """Make dead letters of what is pending for all sinks except ``served``; returns how many, by sink."""
        async with self._database.read() as connection:
            found = set(await connection.scalars(select(deliveries.c.sink).where(pending()).distinct()))
        ended = {sink: await self._end(sink) for sink in sorted(found.difference(served))}
        return {sink: count for sink, count in ended.items() if count}

    async def _end(self, sink: str) -> int:
        """Leave what another replica is sending now or, if there can be other replicas, may still send."""
        ended = 0
        while True:
            async with self._database.write() as connection:
                now = self._database.clock()
                lease_now = await self._database.lease_clock(connection)
                if await served_recently(connection, sender_name(sink), lease_now):
                    return ended
                lapsed = deliveries.c.leased_until <= lease_now
                unserved = [
                    pending(),
                    deliveries.c.sink == sink,
                    or_(deliveries.c.leased_until.is_(None), lapsed),
                ]
                if self._database.path is None:
                    unserved.append(deliveries.c.due_at + 0 <= now - UNSERVED_AFTER)
                batch = select(deliveries.c.seq).where(*unserved).order_by(deliveries.c.seq).limit(_BATCH)
                result = await connection.execute(
                    update(deliveries)
                    .where(deliveries.c.seq.in_(batch), *unserved)
                    .values(
                        state=DeliveryState.DEAD.value,
                        last_error=f"sink {sink} is no longer in the config",
                        finished_at=now,
                        unclear=or_(deliveries.c.unclear, deliveries.c.leased_until.is_not(None)),
                        leased_by=None,
                        leased_until=None,
                    )
                )
            ended += result.rowcount
            if result.rowcount < _BATCH:
                return ended

    async def _delete(self, table: Table, old: ColumnElement[bool]) -> int:
        key: ColumnElement[Any] = tuple_(*table.primary_key)
        batch = delete(table).where(key.in_(select(*table.primary_key).where(old).limit(_BATCH)))
        deleted = 0
        while True:
            async with self._database.write() as connection:
                count = (await connection.execute(batch)).rowcount
            deleted += count
            if count < _BATCH:
                return deleted


def _opened_failure(event_id: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(failures.c.opened_event == event_id, failures.c.closed_at.is_(None))


def _is_unrecovered() -> ColumnElement[bool]:
    """Return True if the event says that a sink fails, and no later one says that it has recovered."""
    return (events.c.type == EventType.SINK_FAILING.value) & ~exists().where(
        _later.c.controller == events.c.controller,
        _later.c.job_uid == events.c.job_uid,
        _later.c.revision > events.c.revision,
    )


def _has_posting() -> ColumnElement[bool]:
    """Return True if there is a message or a ticket that shows the acknowledgement."""
    return exists().where(postings.c.subject == acknowledgements.c.subject)


def _is_open_or_of_kept_job() -> ColumnElement[bool]:
    """Return True if it is an open ticket, or if the next event of its job still has to find it."""
    its_job = exists().where(jobs.c.controller == postings.c.controller, jobs.c.uid == postings.c.job_uid)
    return (postings.c.label.is_not(None) & postings.c.open) | its_job


def _is_referred_to() -> ColumnElement[bool]:
    in_open_failure = exists().where(
        failures.c.controller == jobs.c.controller,
        failures.c.closed_at.is_(None),
        or_(failures.c.job_uid == jobs.c.uid, failures.c.last_job_uid == jobs.c.uid),
    )
    in_event = exists().where(events.c.controller == jobs.c.controller, events.c.job_uid == jobs.c.uid)
    return in_open_failure | in_event
