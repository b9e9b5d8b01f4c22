"""The notifications of a ticketing system: events that open a ticket, change it or close it.

A ticket is about a job, a controller or a sink. Where a route has ``per: failure``, it is about one (serial,
feature) of a controller, whichever job fails it. Its subject is its permanent key: a ticket that is opened
again has the same one. A ticketing system gets openings, changes and ends, and nothing else.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import Job, JobState, Pair, TrackedFailure
from cmc_notify.core.routing import Route, Shown, matches
from cmc_notify.core.text import indexable

OPENING = frozenset(
    {
        EventType.JOB_FAILED,
        EventType.APPLIANCE_FAILED,
        EventType.CONTROLLER_UNREACHABLE,
        EventType.CONTROLLER_UNAUTHORIZED,
        EventType.SINK_FAILING,
    }
)
CHANGING = frozenset(
    {
        EventType.APPLIANCE_RECOVERED,
        EventType.CONTROLLER_RECOVERED,
        EventType.JOB_SUCCEEDED,
        EventType.SINK_RECOVERED,
    }
)
"""The events that change or close an open ticket."""
_OPENED_BY = {
    EventType.CONTROLLER_RECOVERED: (EventType.CONTROLLER_UNREACHABLE, EventType.CONTROLLER_UNAUTHORIZED),
    EventType.SINK_RECOVERED: (EventType.SINK_FAILING,),
}
"""Ends that have no pairs: they go to the recipients of the event that opened the trouble."""

FAILURE_PREFIX = "failure:"
"""The subject prefix of a ticket about a single failure."""
JOB_PREFIX = "job:"
"""The subject prefix of everything about a job."""


class Recipient(Struct, frozen=True, kw_only=True):
    """One delivery of an event before it is written: one sink, subject and purpose."""

    sink: str
    subject: str
    shown: Shown = None
    waits_for: tuple[str, ...] = ()
    purpose: Purpose = Purpose.NOTIFY


def job_subject(controller: str | None, uid: str) -> str:
    """Return the subject of deliveries about a job."""
    return f"{JOB_PREFIX}{controller}:{uid}"


def parse_job_subject(subject: str) -> tuple[str, str] | None:
    """Return controller and uid of the job that a subject names; None where it names no job."""
    parts = subject.split(":", 2)
    return (parts[1], parts[2]) if subject.startswith(JOB_PREFIX) and len(parts) == 3 else None  # noqa: PLR2004


def failure_subject(controller: str | None, pair: Pair) -> str:
    """Return the subject of the ticket about one feature on one appliance."""
    return f"{FAILURE_PREFIX}{controller}:{indexable(pair.serial or '')}:{pair.feature_id}"


def push_scope(job: Job) -> str:
    """Return the targets and features of a job in one text, the same for any order of them."""
    wanted = (job.site_ids, job.site_type_ids, job.serials, job.feature_ids)
    return "|".join(",".join(sorted(map(str, values))) for values in wanted)


def opening_events(event: Event) -> tuple[Event, ...]:
    """Return the events that ``event`` may be the end of, to be routed instead of it; else none."""
    return tuple(replace(event, type=kind) for kind in _OPENED_BY.get(event.type, ()))


def ticket_openings(
    event: Event,
    sink: str,
    shown: Shown,
    routes: Iterable[Route],
    *,
    job: JobState,
    failures: FailureTracker,
) -> list[Recipient]:
    """Return a recipient for each ticket that an event about ``job`` opens or changes at ``sink``.

    An event without a failure left to show has an error of the whole job: that belongs in the job's ticket.
    The job's final event does not repeat a failure that already has its own ticket.
    """
    own = job_subject(event.controller, job.uid)
    route = next((route for route in routes if sink in route.sinks and matches(event, route)), None)
    many = route is not None and len(job.job.failed_pairs()) > route.max_per_job
    if route is None or not route.per_failure or not event.failures or shown == () or many:
        return [Recipient(sink=sink, subject=own, shown=shown)]
    found: list[Recipient] = []
    unnamed: list[int] = []
    for index in range(len(event.failures)) if shown is None else shown:
        failure = event.failures[index]
        pair = Pair(failure.serial, failure.feature_id)
        subject = failure_subject(event.controller, pair)
        if not pair.named:
            unnamed.append(index)
        elif failure.new or not failures.has_ticket(pair, sink, subject):
            found.append(Recipient(sink=sink, subject=subject, shown=(index,)))
    if unnamed:
        found.append(Recipient(sink=sink, subject=own, shown=tuple(unnamed)))
    return found


def ticket_endings(ended: Sequence[TrackedFailure], failures: FailureTracker, sink: str) -> list[Recipient]:
    """Return a recipient for each ticket of the ``ended`` failures at ``sink``.

    A ticket is closed if none of its failures is still open. ``failures`` has the ended ones closed already.
    """
    tickets: dict[str, list[int]] = {}
    for index, failure in enumerate(ended):
        for subject in failure.tickets.get(sink, ()):
            tickets.setdefault(subject, []).append(index)
    return [
        Recipient(
            sink=sink,
            subject=subject,
            shown=None if len(indices) == len(ended) else tuple(indices),
            waits_for=tuple(dict.fromkeys(key for i in indices for key in ended[i].notified.get(sink, ()))),
            purpose=Purpose.FOLLOW if failures.is_ticket_open(sink, subject) else Purpose.CLOSE,
        )
        for subject, indices in tickets.items()
    ]
