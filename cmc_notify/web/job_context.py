"""What people see beside a failure or a job: its tickets, who has taken it upon them, what silences it."""

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
    """Beside one failure or one job."""

    tickets: tuple[Ticket, ...] = ()
    acknowledged: Acknowledgement | None = None
    silenced_by: tuple[str, ...] = ()
    """The silences that would hide it if it were told now."""


NONE = JobContext()


async def marks_of_failures(
    ledger: Ledger, silences: Sequence[Silence], incidents: Sequence[TrackedFailure], *, now: float
) -> dict[str, JobContext]:
    """By the incident's id; ``silences`` are those that act. Raises StoreError."""
    subjects = {incident.id: _subjects(incident) for incident in incidents}
    found = await _by_subject(ledger, [subject for each in subjects.values() for subject in each])
    return {
        incident.id: JobContext(
            tickets=tuple(ticket for subject in subjects[incident.id] for ticket in found[subject].tickets),
            acknowledged=next(
                filter(None, (found[each].acknowledged for each in subjects[incident.id])), None
            ),
            silenced_by=tuple(silence.id for silence in silences_hiding(incident, silences, now=now)),
        )
        for incident in incidents
    }


async def marks_of_jobs(
    ledger: Ledger, jobs: Sequence[tuple[str, JobState]]
) -> dict[tuple[str, str], JobContext]:
    """By controller and uid. Raises StoreError."""
    subjects = {(controller, state.uid): job_subject(controller, state.uid) for controller, state in jobs}
    found = await _by_subject(ledger, [*subjects.values()])
    return {job: found[subject] for job, subject in subjects.items()}


async def marks_of_asked(ledger: Ledger, controller: str, job: Job) -> JobContext:
    """Of a job as the controller shows it. Another of the same id, of before a restore, is not meant.

    Raises StoreError.
    """
    uids = (new_uid(job, ()), new_uid(replace(job, creation_time=None), ()))
    subjects = [job_subject(controller, uid) for uid in uids]
    rows = await ledger.tickets(TicketFilter(controller=controller, job_id=job.id))
    tickets = [row.ticket for row in rows]
    taken = await ledger.acknowledgements(subjects)
    return JobContext(
        tickets=tuple(
            each for each in tickets if each.subject in subjects or each.subject.startswith(FAILURE_PREFIX)
        ),
        acknowledged=next((taken[subject] for subject in subjects if subject in taken), None),
    )


def _subjects(incident: TrackedFailure) -> tuple[str, ...]:
    """What a ticket or an acknowledgement that stands for the failure can be about, the closest first."""
    jobs = dict.fromkeys((incident.last_job_uid, incident.job_uid))
    return (
        failure_subject(incident.controller, incident.pair),
        *(job_subject(incident.controller, uid) for uid in jobs),
    )


async def _by_subject(ledger: Ledger, subjects: Sequence[str]) -> dict[str, JobContext]:
    wanted = dict.fromkeys(subjects)
    if not wanted:
        return {}
    tickets: dict[str, list[Ticket]] = {}
    for row in await ledger.tickets(TicketFilter(subjects=wanted.keys(), limit=_ALL)):
        tickets.setdefault(row.ticket.subject, []).append(row.ticket)
    taken = await ledger.acknowledgements(wanted.keys())
    return {
        subject: JobContext(tickets=tuple(tickets.get(subject, ())), acknowledged=taken.get(subject))
        for subject in wanted
    }
