"""What a ticketing system is told: what opens a ticket, what changes it, and what closes it.

A ticket is about a job, a controller or a sink; where a route says ``per: failure``, about one (serial,
feature) of a controller, whichever job fails it. Its subject is its key for good: what opens it again after
it was closed has the same one. Nothing but openings, changes and ends is sent to a ticketing system.
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
"""What changes or closes a ticket that stands."""
_OPENED_BY = {
    EventType.CONTROLLER_RECOVERED: (EventType.CONTROLLER_UNREACHABLE, EventType.CONTROLLER_UNAUTHORIZED),
    EventType.SINK_RECOVERED: (EventType.SINK_FAILING,),
}
"""Ends that are told of no pairs: to whoever the beginning went."""


FAILURE_PREFIX = "failure:"
"""How the subject of a ticket about a single incident begins."""
JOB_PREFIX = "job:"
"""How the subject of all that is about a job begins."""


class Recipient(Struct, frozen=True, kw_only=True):
    """One delivery of an event, before it is written."""

    sink: str
    subject: str
    shown: Shown = None
    waits_for: tuple[str, ...] = ()
    purpose: Purpose = Purpose.NOTIFY


def job_subject(controller: str | None, uid: str) -> str:
    """What deliveries about a job are about."""
    return f"{JOB_PREFIX}{controller}:{uid}"


def parse_job_subject(subject: str) -> tuple[str, str] | None:
    """Controller and uid of the job that a subject names; None where it names none."""
    parts = subject.split(":", 2)
    return (parts[1], parts[2]) if subject.startswith(JOB_PREFIX) and len(parts) == 3 else None  # noqa: PLR2004


def failure_subject(controller: str | None, pair: Pair) -> str:
    """The subject of the ticket about one feature on one appliance."""
    return f"{FAILURE_PREFIX}{controller}:{indexable(pair.serial or '')}:{pair.feature_id}"


def scope_of(job: Job) -> str:
    """What a push that never began would have changed: its targets and features, in any order."""
    wanted = (job.site_ids, job.site_type_ids, job.serials, job.feature_ids)
    return "|".join(",".join(sorted(map(str, values))) for values in wanted)


def beginnings(event: Event) -> tuple[Event, ...]:
    """The events that ``event`` may be the end of, to be routed in its place; empty for all others."""
    return tuple(replace(event, type=kind) for kind in _OPENED_BY.get(event.type, ()))


def openings(
    event: Event,
    sink: str,
    shown: Shown,
    routes: Iterable[Route],
    *,
    job: JobState,
    incidents: FailureTracker,
) -> list[Recipient]:
    """The tickets that an event about ``job`` opens or changes at ``sink``.

    An event of which no failure is left to show has an error of the whole job, which the job's ticket is for.
    What has a ticket of its own already is not told to it once more by the job's final event.
    """
    own = job_subject(event.controller, job.uid)
    rule = next((rule for rule in routes if sink in rule.sinks and matches(event, rule)), None)
    many = rule is not None and len(job.job.failed_pairs()) > rule.max_per_job
    if rule is None or not rule.per_failure or not event.failures or shown == () or many:
        return [Recipient(sink=sink, subject=own, shown=shown)]
    found: list[Recipient] = []
    nameless: list[int] = []
    for index in range(len(event.failures)) if shown is None else shown:
        failure = event.failures[index]
        pair = Pair(failure.serial, failure.feature_id)
        subject = failure_subject(event.controller, pair)
        if not pair.named:
            nameless.append(index)
        elif failure.new or not incidents.has_ticket(pair, sink, subject):
            found.append(Recipient(sink=sink, subject=subject, shown=(index,)))
    if nameless:
        found.append(Recipient(sink=sink, subject=own, shown=tuple(nameless)))
    return found


def endings(ended: Sequence[TrackedFailure], incidents: FailureTracker, sink: str) -> list[Recipient]:
    """What the end of incidents means for their tickets at ``sink``: closed once none of theirs is open.

    They are closed in ``incidents`` already.
    """
    tickets: dict[str, list[int]] = {}
    for index, incident in enumerate(ended):
        for subject in incident.tickets.get(sink, ()):
            tickets.setdefault(subject, []).append(index)
    return [
        Recipient(
            sink=sink,
            subject=subject,
            shown=None if len(indices) == len(ended) else tuple(indices),
            waits_for=tuple(dict.fromkeys(key for i in indices for key in ended[i].notified.get(sink, ()))),
            purpose=Purpose.FOLLOW if incidents.ticket_stands(sink, subject) else Purpose.CLOSE,
        )
        for subject, indices in tickets.items()
    ]
