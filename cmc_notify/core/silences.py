"""Silences: what people asked not to be told for a while.

A silence hides what matches it and nothing else. What it hides is still recorded: the event, its failures
as open incidents, and a row of the ledger that names the silence. Recoveries follow the failures that they
end, whatever is silenced meanwhile.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from cmc_notify.core.events import Event, EventType
from cmc_notify.core.model import FINISHED, TrackedFailure
from cmc_notify.core.routing import Match, Shown, any_glob, failure_matches
from cmc_notify.core.ticketing import job_subject

LONGEST_COMMENT = 1000
"""Characters of a silence's comment: it is shown in lists and in each row of the ledger that it made."""
LONGEST_WORD = 200
"""Characters of one pattern, and of who adds a silence."""
LONGEST = 3660 * 86400.0
"""Seconds; what is meant for ever is a route."""
MOST_PATTERNS = 500
"""Matchers of one silence: each is tried on every failure of every event."""

_NEVER = frozenset(
    {
        EventType.APPLIANCE_RECOVERED,
        EventType.CONTROLLER_RECOVERED,
        EventType.SINK_FAILING,
        EventType.SINK_RECOVERED,
    }
)
_MADE_OF_FAILURES = frozenset({EventType.JOB_FAILED, EventType.APPLIANCE_FAILED})
"""What they tell are their failures; any other event has news of its own."""


class Silence(Struct, frozen=True, kw_only=True):
    """What is hidden, and from when to when (Unix seconds).

    Every matcher that is set must match; an empty one asks nothing. Patterns are shell globs as in routes.
    """

    id: str
    controllers: tuple[str, ...] = ()
    jobs: tuple[int, ...] = ()
    serials: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    """The name or the label of a feature."""
    subject: str | None = None
    """One job and no other, by ``job:<controller>:<uid>``: ids can be given anew."""
    starts_at: float
    ends_at: float
    created_by: str
    comment: str = ""
    created_at: float
    until_job: bool = False
    """Whether it ends with the job of ``subject``, if that comes earlier; the job's end is told."""

    @property
    def of_failures(self) -> bool:
        """Whether it speaks of single failures, and so leaves alone what has none."""
        return bool(self.serials or self.features)

    @property
    def of_jobs(self) -> bool:
        """Whether it speaks of certain jobs."""
        return bool(self.jobs) or self.subject is not None

    def active(self, now: float) -> bool:
        """Whether it hides anything at ``now``."""
        return self.starts_at <= now < self.ends_at


def find_problems(silence: Silence, *, now: float) -> list[str]:
    """What is wrong with a silence that is to be added, in words for whoever asks for it."""
    found = [*_wrong_matchers(silence), *_wrong_times(silence, now)]
    if not silence.created_by.strip():
        found.append("a silence needs the name of who adds it")
    if len(silence.created_by) > LONGEST_WORD:
        found.append(f"the name of who adds it has more than {LONGEST_WORD} characters")
    if len(silence.comment) > LONGEST_COMMENT:
        found.append(f"the comment has {len(silence.comment)} characters; at most {LONGEST_COMMENT}")
    return found


def apply_silences(
    event: Event, plan: Mapping[str, Shown], silences: Iterable[Silence], *, subject: str, now: float
) -> tuple[dict[str, Shown], tuple[Silence, ...]]:
    """What is left of ``plan`` (by sink, what it would be shown), and the silences that took the rest.

    ``subject`` is the job's, or the controller's. A sink is left out once nothing that the event is told
    for remains for it; a job's pre-push error, details still missing, or an end that is no failure remain.
    """
    if event.type in _NEVER or not plan:
        return dict(plan), ()
    matching = [silence for silence in silences if _speaks_of(silence, event, subject, now)]
    whole = tuple(silence for silence in matching if not silence.of_failures)
    if whole:
        return {}, whole
    hidden: set[int] = set()
    by: list[Silence] = []
    for silence in matching:
        taken = _failures_hidden(silence, event)
        if taken - hidden:
            by.append(silence)
        hidden |= taken
    if not hidden:
        return dict(plan), ()
    left = {}
    for sink, shown in plan.items():
        indices = range(len(event.failures)) if shown is None else shown
        rest = tuple(index for index in indices if index not in hidden)
        if rest or not _only_failures(event):
            left[sink] = shown if len(rest) == len(indices) else rest
    return left, tuple(by)


def ending(event: Event, silences: Iterable[Silence], *, subject: str) -> list[Silence]:
    """The silences that end with this event, since it ends their job."""
    if not _job_ended(event):
        return []
    return [silence for silence in silences if silence.until_job and silence.subject == subject]


def silences_hiding(incident: TrackedFailure, silences: Iterable[Silence], *, now: float) -> list[Silence]:
    """The silences that would hide this failure, were it told at ``now``."""
    names = (incident.feature, incident.feature_name)
    subject = job_subject(incident.controller, incident.last_job_uid)
    return [
        silence
        for silence in silences
        if silence.active(now)
        and (not silence.controllers or any_glob(silence.controllers, incident.controller))
        and (not silence.jobs or incident.job_id in silence.jobs)
        and silence.subject in (None, subject)
        and (not silence.serials or any_glob(silence.serials, incident.serial))
        and (not silence.features or any(any_glob(silence.features, name) for name in names))
    ]


def reason(silences: Sequence[Silence]) -> str:
    """Which silences hid something, for the ledger."""
    return "; ".join(
        f"silence {silence.id} by {silence.created_by}{f': {silence.comment}' if silence.comment else ''}"
        for silence in silences
    )


def _wrong_matchers(silence: Silence) -> Iterator[str]:
    patterns = (*silence.controllers, *silence.serials, *silence.features)
    if not patterns and not silence.of_jobs:
        yield "a silence needs at least one matcher: controller, job, serial or feature"
    if not all(pattern.strip() for pattern in patterns):
        yield "a matcher is empty; leave it out to match everything"
    if any(len(pattern) > LONGEST_WORD for pattern in patterns):
        yield f"a matcher has more than {LONGEST_WORD} characters"
    if len(patterns) + len(silence.jobs) > MOST_PATTERNS:
        yield f"at most {MOST_PATTERNS} matchers; a glob such as V2AB* says many in one"
    if silence.until_job and silence.subject is None:
        yield "only a silence of one job can end with it"


def _wrong_times(silence: Silence, now: float) -> Iterator[str]:
    if silence.ends_at <= silence.starts_at:
        yield "a silence must end after it starts"
    elif silence.ends_at <= now:
        yield "the silence would be over already"
    elif silence.starts_at - now > LONGEST:
        yield "the silence would start in more than ten years; times are in seconds"
    elif silence.ends_at - silence.starts_at > LONGEST:
        yield "a silence of more than ten years is better said by a route in the config"


def _speaks_of(silence: Silence, event: Event, subject: str, now: float) -> bool:
    """Whether it is active and matches all but the failures."""
    if not silence.active(now):
        return False
    if silence.controllers and not any_glob(silence.controllers, event.controller):
        return False
    if event.job is None:
        return bool(silence.controllers) and not silence.of_jobs and not silence.of_failures
    if silence.jobs and event.job.id not in silence.jobs:
        return False
    if silence.subject not in (None, subject):
        return False
    return not (silence.until_job and _job_ended(event))


def _failures_hidden(silence: Silence, event: Event) -> set[int]:
    match = Match(feature=silence.features, serial=silence.serials)
    return {i for i, failure in enumerate(event.failures) if failure_matches(failure, event, match)}


def _only_failures(event: Event) -> bool:
    """Whether the event is told for its failures alone."""
    if event.type not in _MADE_OF_FAILURES or event.job is None:
        return False
    return not event.job.error_text and not event.job.details_pending


def _job_ended(event: Event) -> bool:
    if event.type is EventType.JOB_VANISHED:
        return True
    return event.job is not None and event.job.status in FINISHED
