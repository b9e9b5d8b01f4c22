"""Reads for people (CLI, dashboard, HTTP API), and the few changes that they make by hand."""

import secrets as randomness
from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, or_, select, update

from cmc_notify.core import events as documents
from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.model import JobState, TrackedFailure
from cmc_notify.ports import (
    Acknowledgement,
    ControllerMeta,
    DeliveryFilter,
    LedgerRow,
    OutboxDepth,
    TicketFilter,
    TicketRow,
)
from cmc_notify.store.engine import Database, in_chunks
from cmc_notify.store.manual_retry import close_again, forget_parts
from cmc_notify.store.outbox import load_parts
from cmc_notify.store.rows import delivery_of, failure_row
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.tables import (
    controllers,
    deliveries,
    events,
    failures,
    job_states,
    jobs,
    marks,
    pending,
    secrets,
)
from cmc_notify.store.tickets import find_acknowledgements, find_tickets

_META = msgspec.json.Decoder(ControllerMeta)
_STATE = msgspec.json.Decoder(JobState)
_FAILURE = msgspec.json.Decoder(TrackedFailure)


class LedgerRecords:
    """Implements ports.Ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def snapshots(self) -> Mapping[str, ControllerMeta]:
        """Return every controller that the store knows, by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(controllers.c.name, controllers.c.meta).order_by(controllers.c.name)
            )
            return {name: _META.decode(meta) for name, meta in rows}

    @runs_to_completion
    async def jobs(
        self, *, controller: str | None = None, open_only: bool = False, limit: int = 50
    ) -> Sequence[tuple[str, JobState]]:
        """Return (controller, state), the newest by creation time first."""
        wanted = (
            select(jobs.c.controller, job_states.c.state)
            .join(
                job_states, (jobs.c.controller == job_states.c.controller) & (jobs.c.uid == job_states.c.uid)
            )
            .order_by(func.coalesce(jobs.c.creation_time, 0).desc(), jobs.c.id.desc(), jobs.c.controller)
            .limit(limit)
        )
        if controller is not None:
            wanted = wanted.where(jobs.c.controller == controller)
        if open_only:
            wanted = wanted.where(jobs.c.open)
        async with self._database.read() as connection:
            return [(name, _STATE.decode(state)) for name, state in await connection.execute(wanted)]

    @runs_to_completion
    async def failures(self, *, controller: str | None = None, limit: int = 1000) -> Sequence[TrackedFailure]:
        """Return the open failures, the oldest first."""
        wanted = (
            select(failures.c.document)
            .where(failures.c.closed_at.is_(None))
            .order_by(failures.c.opened_at, failures.c.id)
            .limit(limit)
        )
        if controller is not None:
            wanted = wanted.where(failures.c.controller == controller)
        async with self._database.read() as connection:
            return [_FAILURE.decode(document) for document in await connection.scalars(wanted)]

    @runs_to_completion
    async def count_failures(self) -> Mapping[str, int]:
        """Return the number of open failures by controller."""
        wanted = (
            select(failures.c.controller, func.count())
            .where(failures.c.closed_at.is_(None))
            .group_by(failures.c.controller)
            .order_by(failures.c.controller)
        )
        async with self._database.read() as connection:
            return dict((await connection.execute(wanted)).all())

    @runs_to_completion
    async def close_failure(self, failure_id: str, *, now: float) -> bool:
        """Close by hand (``closed_by`` operator); False if there is no such open failure.

        The controller's version is raised too: a poll that read the failure while it was open must not
        overwrite this with its copy, so it fails as stale and is done again.
        """
        this = failures.c.id == failure_id
        async with self._database.write() as connection:
            controller = await connection.scalar(select(failures.c.controller).where(this))
            await connection.execute(
                update(controllers)
                .where(controllers.c.name == controller)
                .values(version=controllers.c.version + 1)
            )
            document = await connection.scalar(
                select(failures.c.document).where(this, failures.c.closed_at.is_(None))
            )
            if document is None:
                return False
            closed = msgspec.structs.replace(_FAILURE.decode(document), closed_at=now, closed_by="operator")
            await connection.execute(update(failures).where(this).values(**failure_row(closed)))
            return True

    @runs_to_completion
    async def deliveries(self, wanted: DeliveryFilter) -> Sequence[LedgerRow]:
        """Return rows of the ledger, the newest first."""
        return await self._rows(_conditions(wanted), wanted.limit)

    @runs_to_completion
    async def delivery(self, delivery_id: str) -> LedgerRow | None:
        """Return one row by delivery id or key."""
        named = or_(deliveries.c.id == delivery_id, deliveries.c.key == delivery_id)
        rows = await self._rows([named], 1)
        return rows[0] if rows else None

    @runs_to_completion
    async def retry(
        self, delivery_ids: Collection[str] | None, *, now: float, again: bool = False
    ) -> Sequence[str]:
        """Make deliveries due now, with a fresh deadline; None means all dead ones.

        Returns the ids that were changed, the oldest first. A delivery that closed a ticket since then is due
        again after them, so that no ticket is opened late for what is over.
        """
        values: dict[str, object] = {
            "state": DeliveryState.PENDING.value,
            "due_at": now,
            "deadline_at": now + deliveries.c.patience,
            "finished_at": None,
        }
        if again:
            # The lease ends too: an attempt in flight under the old key can no longer finish this row.
            values |= {"leased_by": None, "leased_until": None, "unclear": False, "receipt": None}
            values["key"] = deliveries.c.id + f"-{randomness.token_hex(6)}"
        change = (
            update(deliveries)
            .values(**values)
            .returning(deliveries.c.seq, deliveries.c.id, deliveries.c.sink, deliveries.c.subject)
        )
        nowhere = (DeliveryState.UNROUTED, DeliveryState.SILENCED, DeliveryState.SUPERSEDED)
        routed = deliveries.c.state.not_in([state.value for state in nowhere])
        dead = deliveries.c.state == DeliveryState.DEAD.value
        async with self._database.write() as connection:
            if delivery_ids is None:
                rows = (await connection.execute(change.where(dead))).all()
            else:
                rows = []
                for chunk in in_chunks(delivery_ids):
                    named = change.where(deliveries.c.id.in_(chunk), routed)
                    rows += (await connection.execute(named)).all()
            changed = [row.id for row in sorted(rows)]
            if again:
                await forget_parts(connection, changed)
            await close_again(connection, {(row.sink, row.subject): row.seq for row in rows}, now=now)
        return changed

    @runs_to_completion
    async def event(self, event_id: str) -> documents.Event | None:
        """Return one whole event."""
        async with self._database.read() as connection:
            document = await connection.scalar(select(events.c.document).where(events.c.id == event_id))
            return None if document is None else documents.decode(document)

    @runs_to_completion
    async def events(
        self, *, limit: int = 50, controller: str | None = None, job_id: int | None = None
    ) -> Sequence[documents.Event]:
        """Return the events, the newest first."""
        wanted = select(events.c.document).order_by(events.c.id.desc()).limit(limit)
        if controller is not None:
            wanted = wanted.where(events.c.controller == controller)
        if job_id is not None:
            wanted = wanted.where(events.c.job_id == job_id)
        async with self._database.read() as connection:
            return [documents.decode(document) for document in await connection.scalars(wanted)]

    @runs_to_completion
    async def tickets(self, wanted: TicketFilter) -> Sequence[TicketRow]:
        """Return the tickets that sinks opened, the last changed first."""
        async with self._database.read() as connection:
            return await find_tickets(connection, wanted)

    @runs_to_completion
    async def acknowledgements(self, subjects: Collection[str]) -> Mapping[str, Acknowledgement]:
        """Return who has acknowledged them, by subject."""
        async with self._database.read() as connection:
            return await find_acknowledgements(connection, subjects)

    @runs_to_completion
    async def depths(self) -> Sequence[OutboxDepth]:
        """Return the outbox by sink."""
        counted = select(deliveries.c.sink, deliveries.c.state, func.count()).group_by(
            deliveries.c.state, deliveries.c.sink
        )
        oldest = (
            select(deliveries.c.sink, func.min(deliveries.c.created_at))
            .where(pending())
            .group_by(deliveries.c.sink)
        )
        async with self._database.read() as connection:
            counts: dict[str, dict[str, int]] = {}
            for sink, state, count in await connection.execute(counted):
                if state not in (DeliveryState.UNROUTED, DeliveryState.SILENCED):
                    counts.setdefault(sink, {})[state] = count
            since = dict((await connection.execute(oldest)).all())
        return [
            OutboxDepth(
                sink=sink,
                pending=by_state.get("pending", 0),
                sent=by_state.get("sent", 0),
                dead=by_state.get("dead", 0),
                oldest_pending_at=since.get(sink),
            )
            for sink, by_state in sorted(counts.items())
        ]

    @runs_to_completion
    async def last_errors(self) -> Mapping[str, str]:
        """Return, by sink, the last error of the oldest pending delivery that failed before."""
        oldest = (
            select(func.min(deliveries.c.seq))
            .where(pending(), deliveries.c.last_error.is_not(None))
            .group_by(deliveries.c.sink)
        )
        wanted = select(deliveries.c.sink, deliveries.c.last_error).where(deliveries.c.seq.in_(oldest))
        async with self._database.read() as connection:
            return dict((await connection.execute(wanted)).all())

    @runs_to_completion
    async def secret(self, name: str) -> bytes:
        """Return 32 random bytes kept under ``name``, made on first use; the same for every replica."""
        kept = select(secrets.c.value).where(secrets.c.name == name)
        async with self._database.read() as connection:
            value: bytes | None = await connection.scalar(kept)
        if value is not None:
            return value
        async with self._database.write() as connection:
            # The second replica keeps the value of the first.
            await connection.execute(
                self._database.insert_missing(secrets).values(name=name, value=randomness.token_bytes(32))
            )
            first: bytes = (await connection.execute(kept)).scalar_one()
            return first

    @runs_to_completion
    async def replace_secret(self, name: str, value: bytes) -> None:
        """Keep other bytes under ``name``."""
        async with self._database.write() as connection:
            await connection.execute(delete(secrets).where(secrets.c.name == name))
            await connection.execute(insert(secrets).values(name=name, value=value))

    @runs_to_completion
    async def ping(self) -> None:
        """Prove that the store can be read and written, by writing."""
        async with self._database.write() as connection:
            await connection.execute(
                self._database.upsert(marks).values(name="ping", at=self._database.clock())
            )

    async def _rows(self, conditions: Sequence[ColumnElement[bool]], limit: int) -> Sequence[LedgerRow]:
        wanted = (
            select(
                deliveries,
                events.c.type.label("event_type"),
                events.c.time.label("event_time"),
                events.c.job_id.label("job_id"),
            )
            .join(events, events.c.id == deliveries.c.event_id)
            .where(*conditions)
            .order_by(deliveries.c.seq.desc())
            .limit(limit)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(wanted)).mappings().all()
            parts = await load_parts(connection, [row["id"] for row in rows])
        return [_ledger_row(row, parts.get(row["id"], {})) for row in rows]


def _conditions(wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    columns = {
        deliveries.c.state: wanted.state.value if wanted.state else None,
        deliveries.c.sink: wanted.sink,
        deliveries.c.event_id: wanted.event_id,
        deliveries.c.controller: wanted.controller,
        events.c.job_id: wanted.job_id,
    }
    return [column == value for column, value in columns.items() if value is not None]


def _ledger_row(row: RowMapping, parts: Mapping[str, str]) -> LedgerRow:
    return LedgerRow(
        delivery=delivery_of(row, parts),
        event_type=row["event_type"],
        event_time=row["event_time"],
        controller=row["controller"],
        job_id=row["job_id"],
    )
