"""Actions from chat: the audit, acknowledgements, and messages that have to show something new."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace
from sqlalchemy import select, update

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.model import JobState
from cmc_notify.ports import Acknowledgement, ActionOutcome, ChatAction, RefreshResult
from cmc_notify.store.engine import Database
from cmc_notify.store.rows import dump
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.tables import (
    acknowledgements,
    actions,
    deliveries,
    delivery_parts,
    events,
    job_states,
    pending,
    postings,
)

_ACTION = msgspec.json.Decoder(ChatAction)
_STATE = msgspec.json.Decoder(JobState)


class ChatActionRecords:
    """Implements ports.Acting and ports.ActionLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def posted_at(self, subject: str, reference: str) -> Sequence[str]:
        """Return the sinks at which ``reference`` is the message about the subject now."""
        wanted = (
            select(postings.c.sink)
            .where(postings.c.subject == subject, postings.c.reference == reference)
            .order_by(postings.c.sink)
        )
        async with self._database.read() as connection:
            return list(await connection.scalars(wanted))

    @runs_to_completion
    async def job(self, controller: str, uid: str) -> JobState | None:
        """Return one job as last seen; None if it is unknown."""
        wanted = select(job_states.c.state).where(
            job_states.c.controller == controller, job_states.c.uid == uid
        )
        async with self._database.read() as connection:
            state = await connection.scalar(wanted)
            return None if state is None else _STATE.decode(state)

    @runs_to_completion
    async def acknowledge(self, subject: str, *, by: str, at: float) -> Acknowledgement:
        """Acknowledge the subject; returns who has it: the first one who asked."""
        async with self._database.write() as connection:
            await connection.execute(
                self._database.insert_missing(acknowledgements).values(subject=subject, by=by, at=at)
            )
            row = (
                await connection.execute(
                    select(acknowledgements).where(acknowledgements.c.subject == subject)
                )
            ).one()
            return Acknowledgement(row.by, row.at)

    @runs_to_completion
    async def refresh(self, sink: str, subject: str, *, now: float) -> RefreshResult:
        """Make the sink bring its message about the subject up to date."""
        waiting = select(deliveries.c.leased_until).where(
            pending(), deliveries.c.sink == sink, deliveries.c.ordering_key == subject
        )
        # By way of the job's events: a sink's deliveries can be a million, a job's are a few.
        newest = (
            select(deliveries.c.seq, deliveries.c.id, postings.c.reference)
            .join(events, events.c.id == deliveries.c.event_id)
            .join(
                postings,
                (postings.c.controller == events.c.controller) & (postings.c.job_uid == events.c.job_uid),
            )
            .where(
                postings.c.sink == sink,
                postings.c.subject == subject,
                deliveries.c.sink == sink,
                deliveries.c.subject == subject,
                deliveries.c.state == DeliveryState.SENT.value,
            )
            .order_by(deliveries.c.seq.desc())
            .limit(1)
        )
        async with self._database.write() as connection:
            lease_now = await self._database.lease_clock(connection)
            # Read before the pending ones: what becomes due in between is found there, and nothing older is
            # taken for the newest.
            found = (await connection.execute(newest)).one_or_none()
            leases = list(await connection.scalars(waiting))
            if any(until is not None and until > lease_now for until in leases):
                return RefreshResult.IN_FLIGHT
            if leases:
                return RefreshResult.PENDING
            if found is None:
                return RefreshResult.NO_MESSAGE
            seq, delivery_id, reference = found
            due = await connection.execute(
                update(deliveries)
                # Another replica may have made it due meanwhile, and be sending it.
                .where(deliveries.c.seq == seq, deliveries.c.state == DeliveryState.SENT.value)
                .values(
                    state=DeliveryState.PENDING.value,
                    due_at=now,
                    deadline_at=now + deliveries.c.patience,
                    finished_at=None,
                )
            )
            if not due.rowcount:
                return RefreshResult.IN_FLIGHT
            # The message itself is made again, so it counts as not sent; the other parts are not sent again.
            await connection.execute(
                delivery_parts.delete().where(
                    delivery_parts.c.delivery_id == delivery_id, delivery_parts.c.receipt == reference
                )
            )
            return RefreshResult.DUE

    @runs_to_completion
    async def begin(self, action: ChatAction) -> bool:
        """Write the attempt down; False if it is there already, and must not be done again."""
        async with self._database.write() as connection:
            result = await connection.execute(
                self._database.insert_missing(actions).values(
                    id=action.id, at=action.at, document=dump(action)
                )
            )
            return result.rowcount == 1

    @runs_to_completion
    async def finish(
        self, action_id: str, outcome: ActionOutcome, answer: str | None, *, subject: str | None = None
    ) -> None:
        """Write down the outcome of the attempt."""
        this = actions.c.id == action_id
        async with self._database.write() as connection:
            document = await connection.scalar(select(actions.c.document).where(this))
            if document is None:  # deleted meanwhile
                return
            begun = _ACTION.decode(document)
            ended = replace(begun, outcome=outcome, answer=answer, subject=subject or begun.subject)
            await connection.execute(update(actions).where(this).values(document=dump(ended)))

    @runs_to_completion
    async def actions(self, *, limit: int = 50) -> Sequence[ChatAction]:
        """Return the attempts, the newest first."""
        wanted = select(actions.c.document).order_by(actions.c.at.desc(), actions.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [_ACTION.decode(document) for document in await connection.scalars(wanted)]
