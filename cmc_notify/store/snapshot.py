"""The poller's side: a controller as last committed, and the one transaction that commits the next poll.

A commit is whole or absent, and only one can follow a given version: a poll that read an older
snapshot gets StaleSnapshot and writes nothing.
"""

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.core.events import EventType
from cmc_notify.core.model import JobState, Pair, TrackedFailure
from cmc_notify.core.silences import Silence
from cmc_notify.core.ticketing import FAILURE_PREFIX, job_subject
from cmc_notify.errors import StaleSnapshot
from cmc_notify.ports import ControllerMeta, KnownJob, PollCommit, Snapshot
from cmc_notify.store.engine import Database, in_chunks
from cmc_notify.store.leadership import require_leadership
from cmc_notify.store.rows import delivery_row, dump, event_row, failure_row, job_row, pair_key, wait_rows
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.silences import end_silences, load_active
from cmc_notify.store.supersede import lock_progress, supersede
from cmc_notify.store.tables import (
    acknowledgements,
    controllers,
    deliveries,
    delivery_waits,
    events,
    failures,
    job_states,
    jobs,
)

_META = msgspec.json.Decoder(ControllerMeta)
_STATE = msgspec.json.Decoder(JobState)
_FAILURE = msgspec.json.Decoder(TrackedFailure)
_LIGHT = tuple(jobs.c[name] for name in KnownJob.__struct_fields__)


class PollRecords:
    """Implements ports.PollStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def load_snapshot(self, controller: str) -> Snapshot:
        """Return the last commit; version 0 and empty for a controller never seen."""
        async with self._database.read() as connection:
            # The version first: jobs of a later commit would only make this snapshot stale, never wrong.
            head = (
                await connection.execute(
                    select(controllers.c.version, controllers.c.meta).where(controllers.c.name == controller)
                )
            ).one_or_none()
            if head is None:
                return Snapshot(0, ControllerMeta(), ())
            rows = await connection.execute(
                select(*_LIGHT).where(jobs.c.controller == controller).order_by(jobs.c.discovered)
            )
            known = tuple(KnownJob(**row) for row in rows.mappings())
            return Snapshot(head.version, _META.decode(head.meta), known)

    @runs_to_completion
    async def load_states(self, controller: str, uids: Collection[str]) -> dict[str, JobState]:
        """Return whole states by uid; unknown uids are left out."""
        found: dict[str, JobState] = {}
        async with self._database.read() as connection:
            for chunk in in_chunks(uids):
                rows = await connection.execute(
                    select(job_states.c.uid, job_states.c.state).where(
                        job_states.c.controller == controller, job_states.c.uid.in_(chunk)
                    )
                )
                found.update((uid, _STATE.decode(state)) for uid, state in rows)
        return found

    @runs_to_completion
    async def states_after(self, controller: str, order: tuple[int, int]) -> Sequence[JobState]:
        """Return the states of pushed jobs whose ``job.order`` is greater than ``order``, in that order."""
        async with self._database.read() as connection:
            rows = await connection.scalars(
                select(job_states.c.state)
                .join(jobs, (jobs.c.controller == job_states.c.controller) & (jobs.c.uid == job_states.c.uid))
                .where(
                    jobs.c.controller == controller,
                    tuple_(jobs.c.order_time, jobs.c.id) > tuple_(*order),
                    jobs.c.pushed,
                )
                .order_by(jobs.c.order_time, jobs.c.id)
            )
            return [_STATE.decode(state) for state in rows]

    @runs_to_completion
    async def load_failures(self, controller: str, pairs: Collection[Pair]) -> Sequence[TrackedFailure]:
        """Return all open failures of the controller, and of each of ``pairs`` the newest closed one."""
        ours = failures.c.controller == controller
        closed: dict[str, str] = {}
        async with self._database.read() as connection:
            rows = await connection.scalars(
                select(failures.c.document)
                .where(ours, failures.c.closed_at.is_(None))
                .order_by(failures.c.opened_at, failures.c.id)
            )
            found = [_FAILURE.decode(document) for document in rows]
            for chunk in in_chunks({pair_key(pair) for pair in pairs}):
                history = await connection.execute(
                    select(failures.c.pair, failures.c.document)
                    .where(ours, failures.c.pair.in_(chunk), failures.c.closed_at.is_not(None))
                    .order_by(failures.c.closed_at, failures.c.opened_at, failures.c.id)
                )
                closed.update((pair, document) for pair, document in history)
        return found + [_FAILURE.decode(document) for document in closed.values()]

    @runs_to_completion
    async def load_silences(self, controller: str, *, now: float) -> Sequence[Silence]:
        """Return the silences that are active now and could match the controller."""
        async with self._database.read() as connection:
            return await load_active(connection, controller, now=now)

    @runs_to_completion
    async def commit_poll(self, commit: PollCommit) -> int:
        """Write it all and return the new version; raises StaleSnapshot and then writes nothing."""
        async with self._database.write() as connection:
            version = await self._advance(connection, commit)
            # Checked once the row is locked: while we waited for it, another replica may have taken over.
            if commit.fence:
                await require_leadership(connection, commit.fence)
            await self._write_jobs(connection, commit)
            await self._write_events(connection, commit)
            await self._end_acknowledgements(connection, commit)
            await self._write_deliveries(connection, commit)
            await self._write_failures(connection, commit.failures)
            await end_silences(connection, commit.ended_silences, now=self._database.clock())
            if commit.listed is not None:
                await self._mark_listed(connection, commit.controller, commit.listed)
            reached(Boundary.POLL_WRITTEN)
        reached(Boundary.POLL_COMMITTED)
        return version

    async def _advance(self, connection: AsyncConnection, commit: PollCommit) -> int:
        """Raise the version first: the locked row makes other commits of this controller wait."""
        version = commit.expected_version + 1
        row = {"version": version, "meta": dump(commit.meta)}
        if commit.expected_version == 0:
            result = await connection.execute(
                self._database.insert_missing(controllers).values(name=commit.controller, **row)
            )
        else:
            result = await connection.execute(
                update(controllers)
                .where(
                    controllers.c.name == commit.controller,
                    controllers.c.version == commit.expected_version,
                )
                .values(**row)
            )
        if result.rowcount != 1:
            raise StaleSnapshot(
                f"{commit.controller}: version {commit.expected_version} is no longer the newest; poll again"
            )
        return version

    async def _write_jobs(self, connection: AsyncConnection, commit: PollCommit) -> None:
        if not commit.jobs:
            return
        newest = await connection.scalar(
            select(func.max(jobs.c.discovered)).where(jobs.c.controller == commit.controller)
        )
        # A known job keeps its place in the order of discovery: the number given here is then not used.
        rows = [
            job_row(commit.controller, saved, (newest or 0) + place)
            for place, saved in enumerate(commit.jobs, start=1)
        ]
        await connection.execute(self._database.upsert(jobs, keep=("discovered", "unlisted_at")), rows)
        await connection.execute(
            self._database.upsert(job_states),
            [
                {"controller": commit.controller, "uid": saved.state.uid, "state": dump(saved.state)}
                for saved in commit.jobs
            ],
        )

    async def _write_events(self, connection: AsyncConnection, commit: PollCommit) -> None:
        if not commit.events:
            return
        now = self._database.clock()
        rows = [event_row(event, commit.event_uids.get(event.id), now) for event in commit.events]
        try:
            await connection.execute(insert(events), rows)
        except IntegrityError as error:
            raise StaleSnapshot(f"{commit.controller}: a change was already announced; poll again") from error

    async def _end_acknowledgements(self, connection: AsyncConnection, commit: PollCommit) -> None:
        """Delete acknowledgements of reopened jobs: they were not for the failures of the new run."""
        reopened = [
            job_subject(commit.controller, commit.event_uids[event.id][0])
            for event in commit.events
            if event.type is EventType.JOB_REOPENED
        ]
        for chunk in in_chunks(reopened):
            await connection.execute(delete(acknowledgements).where(acknowledgements.c.subject.in_(chunk)))

    async def _write_deliveries(self, connection: AsyncConnection, commit: PollCommit) -> None:
        if not commit.deliveries:
            return
        now = self._database.clock()
        of = {event.id: event.controller for event in commit.events}
        rows = [delivery_row(new, of.get(new.event_id), now) for new in commit.deliveries]
        await connection.execute(insert(deliveries), rows)
        if waits := wait_rows(commit.deliveries):
            await connection.execute(insert(delivery_waits), waits)
        routed = [new for new in commit.deliveries if new.sink]
        sinks = {new.sink for new in routed}
        # A poll may write to ten thousand tickets, and a failure's own ticket never gets a job's progress.
        keys = {new.ordering_key for new in routed if not new.ordering_key.startswith(FAILURE_PREFIX)}
        if self._database.path is None:  # a SQLite store has one writer at a time
            await lock_progress(connection, sinks, keys)
        await supersede(connection, sinks, keys, now=now)

    async def _write_failures(self, connection: AsyncConnection, changed: Sequence[TrackedFailure]) -> None:
        if changed:
            await connection.execute(
                self._database.upsert(failures), [failure_row(failure) for failure in changed]
            )

    async def _mark_listed(
        self, connection: AsyncConnection, controller: str, listed: frozenset[str]
    ) -> None:
        """Write only the jobs that appeared or disappeared; a full list of the same jobs writes nothing."""
        ours = jobs.c.controller == controller
        rows = (await connection.execute(select(jobs.c.uid, jobs.c.unlisted_at).where(ours))).all()
        now = self._database.clock()
        changed = [
            {"of_uid": uid, "since": None if uid in listed else now}
            for uid, unlisted_at in rows
            if (uid in listed) != (unlisted_at is None)
        ]
        if changed:
            await connection.execute(
                update(jobs)
                .where(ours, jobs.c.uid == bindparam("of_uid"))
                .values(unlisted_at=bindparam("since")),
                changed,
            )
