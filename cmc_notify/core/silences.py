"""Silences: rules that keep notifications from people for a while.

A silence hides the events and failures that match it, and nothing else. They are still recorded: the event,
its failures as open failures, and a row of the ledger that names the silence. A recovery goes to the sinks
that were notified of the failure, whatever is silenced meanwhile.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from cmc_notify.core.events import Event, EventType
from cmc_notify.core.model import FINISHED, TrackedFailure
from cmc_notify.core.routing import Match, Shown, any_glob, failure_matches
from cmc_notify.core.ticketing import job_subject

MAX_COMMENT_CHARS = 1000
"""A silence's comment is shown in lists and in each row of the ledger that the silence made."""
MAX_PATTERN_CHARS = 200
"""The limit for one pattern, and for the name of the person who adds a silence."""
MAX_SECONDS = 3660 * 86400.0
"""Ten years; anything permanent belongs in a route."""
MAX_PATTERNS = 500
"""The limit for one silence: each matcher is tried on every failure of every event."""

_NEVER_SILENCED = frozenset(
    {
        EventType.APPLIANCE_RECOVERED,
        EventType.CONTROLLER_RECOVERED,
        EventType.SINK_FAILING,
        EventType.SINK_RECOVERED,
    }
)
_ONLY_ABOUT_FAILURES = frozenset({EventType.JOB_FAILED, EventType.APPLIANCE_FAILED})
"""Events that hold failures and nothing else; any other event also announces something else."""


class Silence(Struct, frozen=True, kw_only=True):
    """A set of matchers and a period (Unix seconds).

    Every matcher that is set must match; an empty one matches everything. Patterns are shell globs as in
    routes.
    """

    id: str
    controllers: tuple[str, ...] = ()
    jobs: tuple[int, ...] = ()
    serials: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    """The name or the label of a feature."""
    subject: str | None = None
    """Exactly one job, as ``job:<controller>:<uid>``: a controller may use an id again."""
    starts_at: float
    ends_at: float
    created_by: str
    comment: str = ""
    created_at: float
    until_job: bool = False
    """True if it ends with the job of ``subject``, if that comes earlier; the job's end is not hidden."""

    @property
    def of_failures(self) -> bool:
        """Return True if it matches single failures, and so hides no event without failures."""
        return bool(self.serials or self.features)

    @property
    def of_jobs(self) -> bool:
        """Return True if it matches only certain jobs."""
        return bool(self.jobs) or self.subject is not None

    def active(self, now: float) -> bool:
        """Return True if it may hide anything at ``now``."""
        return self.starts_at <= now < self.ends_at


def find_problems(silence: Silence, *, now: float) -> list[str]:
    """Return each problem of a silence that is to be added, in words for the person who adds it."""
    found = [*_wrong_matchers(silence), *_wrong_times(silence, now)]
    if not silence.created_by.strip():
        found.append("a silence needs the name of the person who adds it")
    if len(silence.created_by) > MAX_PATTERN_CHARS:
        found.append(f"the name of the person who adds it has more than {MAX_PATTERN_CHARS} characters")
    if len(silence.comment) > MAX_COMMENT_CHARS:
        found.append(f"the comment has {len(silence.comment)} characters; at most {MAX_COMMENT_CHARS}")
    return found


def apply_silences(
    event: Event, planned: Mapping[str, Shown], silences: Iterable[Silence], *, subject: str, now: float
) -> tuple[dict[str, Shown], tuple[Silence, ...]]:
    """Return what is left of ``planned`` (by sink, the failures to show), and the silences that hid the rest.

    ``subject`` is the job's or the controller's. A sink is left out if nothing that the event announces
    remains for it. A job's pre-push error, pending details, and an end that is not a failure always remain.
    """
    if event.type in _NEVER_SILENCED or not planned:
        return dict(planned), ()
    matching = [silence for silence in silences if _matches_event(silence, event, subject, now)]
    whole = tuple(silence for silence in matching if not silence.of_failures)
    if whole:
        return {}, whole
    hidden: set[int] = set()
    by: list[Silence] = []
    for silence in matching:
        matched = _failures_hidden(silence, event)
        if matched - hidden:
            by.append(silence)
        hidden |= matched
    if not hidden:
        return dict(planned), ()
    left = {}
    for sink, shown in planned.items():
        indices = range(len(event.failures)) if shown is None else shown
        rest = tuple(index for index in indices if index not in hidden)
        if rest or not _is_only_about_failures(event):
            left[sink] = shown if len(rest) == len(indices) else rest
    return left, tuple(by)


def silences_ended_by(event: Event, silences: Iterable[Silence], *, subject: str) -> list[Silence]:
    """Return the silences that end with this event, as it ends their job."""
    if not _job_ended(event):
        return []
    return [silence for silence in silences if silence.until_job and silence.subject == subject]


def silences_hiding(failure: TrackedFailure, silences: Iterable[Silence], *, now: float) -> list[Silence]:
    """Return the silences that would hide this failure if it were announced at ``now``."""
    names = (failure.feature, failure.feature_name)
    subject = job_subject(failure.controller, failure.last_job_uid)
    return [
        silence
        for silence in silences
        if silence.active(now)
        and (not silence.controllers or any_glob(silence.controllers, failure.controller))
        and (not silence.jobs or failure.job_id in silence.jobs)
        and silence.subject in (None, subject)
        and (not silence.serials or any_glob(silence.serials, failure.serial))
        and (not silence.features or any(any_glob(silence.features, name) for name in names))
    ]


def describe(silences: Sequence[Silence]) -> str:
    """Return the silences that hid something in one line, for the ledger."""
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
    if any(len(pattern) > MAX_PATTERN_CHARS for pattern in patterns):
        yield f"a matcher has more than {MAX_PATTERN_CHARS} characters"
    if len(patterns) + len(silence.jobs) > MAX_PATTERNS:
        yield f"at most {MAX_PATTERNS} matchers; a glob such as V2AB* matches many serials"
    if silence.until_job and silence.subject is None:
        yield "only a silence of one job can end with that job"


def _wrong_times(silence: Silence, now: float) -> Iterator[str]:
    if silence.ends_at <= silence.starts_at:
        yield "a silence must end after it starts"
    elif silence.ends_at <= now:
        yield "the silence would be over already"
    elif silence.starts_at - now > MAX_SECONDS:
        yield "the silence would start in more than ten years; times are in seconds"
    elif silence.ends_at - silence.starts_at > MAX_SECONDS:
        yield "a silence can't last more than ten years; use a route in the config"


def _matches_event(silence: Silence, event: Event, subject: str, now: float) -> bool:
    """Return True if it is active and all its matchers match, except those of failures."""
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


def _is_only_about_failures(event: Event) -> bool:
    """Return True if the event announces its failures and nothing else."""
    if event.type not in _ONLY_ABOUT_FAILURES or event.job is None:
        return False
    return not event.job.error_text and not event.job.details_pending


def _job_ended(event: Event) -> bool:
    if event.type is EventType.JOB_VANISHED:
        return True
    return event.job is not None and event.job.status in FINISHED
