"""The context of a failure or a job: its tickets, its acknowledgement, and the silences that match it."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.job_filters import new_uid
from cmc_notify.core.model import Job, JobState, TrackedFailure
from cmc_notify.core.silences import Silence, silences_hiding
from cmc_notify.core.ticketing import FAILURE_PREFIX, failure_subject, job_subject
from cmc_notify.ports import Acknowledgement, Ledger, Ticket, TicketFilter

_ALL = 1_000_000


class JobContext(Struct, frozen=True, kw_only=True):
    """The context of one failure or one job."""

    tickets: tuple[Ticket, ...] = ()
    acknowledged: Acknowledgement | None = None
    silenced_by: tuple[str, ...] = ()
    """The silences that would hide an event about it now."""


NO_CONTEXT = JobContext()


async def failure_contexts(
    ledger: Ledger, silences: Sequence[Silence], failures: Sequence[TrackedFailure], *, now: float
) -> dict[str, JobContext]:
    """Return the contexts by id of the failure; ``silences`` are the active ones. Raises StoreError."""
    subjects = {failure.id: _subjects(failure) for failure in failures}
    found = await _by_subject(ledger, [subject for each in subjects.values() for subject in each])
    return {
        failure.id: JobContext(
            tickets=tuple(ticket for subject in subjects[failure.id] for ticket in found[subject].tickets),
            acknowledged=next(
                filter(None, (found[each].acknowledged for each in subjects[failure.id])), None
            ),
            silenced_by=tuple(silence.id for silence in silences_hiding(failure, silences, now=now)),
        )
        for failure in failures
    }


async def job_contexts(
    ledger: Ledger, jobs: Sequence[tuple[str, JobState]]
) -> dict[tuple[str, str], JobContext]:
    """Return the contexts by controller and uid. Raises StoreError."""
    subjects = {(controller, state.uid): job_subject(controller, state.uid) for controller, state in jobs}
    found = await _by_subject(ledger, [*subjects.values()])
    return {job: found[subject] for job, subject in subjects.items()}


async def listed_job_context(ledger: Ledger, controller: str, job: Job) -> JobContext:
    """Return the context of a job as the controller shows it, not of another job with the same id.

    After a restore a controller can give an old id to another job.

    Raises StoreError.
    """
    uids = (new_uid(job, ()), new_uid(replace(job, creation_time=None), ()))
    subjects = [job_subject(controller, uid) for uid in uids]
    rows = await ledger.tickets(TicketFilter(controller=controller, job_id=job.id))
    tickets = [row.ticket for row in rows]
    acknowledged = await ledger.acknowledgements(subjects)
    return JobContext(
        tickets=tuple(
            each for each in tickets if each.subject in subjects or each.subject.startswith(FAILURE_PREFIX)
        ),
        acknowledged=next((acknowledged[subject] for subject in subjects if subject in acknowledged), None),
    )


def _subjects(failure: TrackedFailure) -> tuple[str, ...]:
    """Return the subjects of tickets and acknowledgements of the failure, the most specific first."""
    jobs = dict.fromkeys((failure.last_job_uid, failure.job_uid))
    return (
        failure_subject(failure.controller, failure.pair),
        *(job_subject(failure.controller, uid) for uid in jobs),
    )


async def _by_subject(ledger: Ledger, subjects: Sequence[str]) -> dict[str, JobContext]:
    wanted = dict.fromkeys(subjects)
    if not wanted:
        return {}
    tickets: dict[str, list[Ticket]] = {}
    for row in await ledger.tickets(TicketFilter(subjects=wanted.keys(), limit=_ALL)):
        tickets.setdefault(row.ticket.subject, []).append(row.ticket)
    acknowledged = await ledger.acknowledgements(wanted.keys())
    return {
        subject: JobContext(tickets=tuple(tickets.get(subject, ())), acknowledged=acknowledged.get(subject))
        for subject in wanted
    }
