"""What the looks at one job must have told, and which failures later pushes must have ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from support.oracle.observations import FINISHED, Pair, Seen

JobKey = tuple[int, int | None]
"""A job's id and its creation time in Unix seconds."""

SPINE = frozenset({*FINISHED.values(), "job.queued", "job.started", "job.reopened", "job.vanished"})
PAIRS = "appliance.failed"
RECOVERY = "appliance.recovered"


@dataclass(frozen=True)
class Expected:
    """One event that is due. ``optional``: allowed, not required. ``settled``: its timing is open."""

    type: str
    job: JobKey
    new: frozenset[Pair] = frozenset()
    failed: frozenset[Pair] | None = None
    """For ``job.failed``: every failed pair; None where that is not judged."""
    recovered: frozenset[tuple[str | None, int | None, int]] = frozenset()
    """(serial, feature id, id of the job that opened the incident)."""
    optional: bool = False
    settled: bool = False


@dataclass
class Life:
    """The life of one job, look by look."""

    key: JobKey
    seen: Seen
    told: set[Pair] = field(default_factory=set)
    silent: set[Pair] = field(default_factory=set)
    """Pairs that the first-run rule passed over: new once a job.failed lists them."""
    final: str = ""
    """The finished status that was told, passed over, or is held."""
    held: bool = False
    """Whether job.failed is due but waits for details."""
    loose: bool = False
    """Whether this run ever settled, so that timing decides how its pairs were spread."""
    gone: bool = False
    shown: Seen | None = None
    """The last look, as it was served."""

    def begin(self, first: Seen, *, silent: bool, settle: float | None) -> list[Expected]:
        """The first look at the job."""
        if silent:
            self.silent = first.pairs("failed")
            self.final = first.status if first.status in FINISHED else ""
            return []
        events = [self._event("job.queued")] if first.status == "queued" else []
        return events + self._running(first, None) + self._pairs_and_end(first, settle)

    def look(self, now: Seen, settle: float | None) -> list[Expected]:
        """One more look."""
        before, self.gone = self.seen, False
        if self.final and (now.status in ("queued", "inprogress") or _ran_again(before, now)):
            events = [*self.end(), self._event("job.reopened")]
            self.seen, self.told, self.silent, self.final, self.loose = now, set(), set(), "", False
            return events + self._running(now, None) + self._pairs_and_end(now, settle)
        events = []
        if self.held and now.status in FINISHED and now.status != before.status:
            # whether the settle time had passed before the status changed is open
            events = [replace(self._event("job.failed"), optional=True)]
            self.held = False
        self.seen = now = now.filled(before)
        return events + self._running(now, before.status) + self._pairs_and_end(now, settle)

    def vanish(self) -> list[Expected]:
        """The controller answers that there is no such job."""
        if self.gone or self.seen.status in FINISHED:
            return []
        self.gone = True
        return [self._event("job.vanished")]

    def end(self) -> list[Expected]:
        """The run is over or the record ends: what was held is told with what is there."""
        held, self.held = self.held, False
        return [self._failed(set())] if held else []

    def _running(self, now: Seen, before: str | None) -> list[Expected]:
        started = now.status == "inprogress" and before != "inprogress"
        return [self._event("job.started")] if started else []

    def _pairs_and_end(self, now: Seen, settle: float | None) -> list[Expected]:
        failed = now.pairs("failed")
        otherwise = now.rows.keys() - failed
        self.told -= otherwise
        self.silent -= otherwise
        ends = now.status in FINISHED and now.status != self.final
        if ends:
            self.final = now.status
            self.held = now.status == "failed"
            self.loose |= now.settling and settle != 0
        if self.held and not (self.loose and now.settling):
            self.held = False
            new = failed - self.told
            self.told |= new
            self.silent.clear()
            return [self._failed(new)]
        new = failed - self.told - self.silent
        self.told |= new
        events = [self._event(PAIRS, new)] if new else []
        return events + ([self._event(FINISHED[now.status])] if ends and not self.held else [])

    def _failed(self, new: set[Pair]) -> Expected:
        return replace(self._event("job.failed", new), failed=frozenset(self.seen.pairs("failed")))

    def _event(self, kind: str, new: Iterable[Pair] = ()) -> Expected:
        return Expected(kind, self.key, new=frozenset(new), settled=self.loose)


def _ran_again(before: Seen, now: Seen) -> bool:
    """Whether a finished job shows another known time; a time that was unknown is only filled in."""
    times = ((before.pushed, now.pushed), (before.completed, now.completed))
    return any(None not in (old, new) and old != new for old, new in times)


@dataclass
class ExpectedFailure:
    """An open failure: the job that opened it and the last job that failed the pair."""

    pair: Pair
    opener: JobKey
    last: JobKey


class ExpectedFailures:
    """Opened by told failures, closed by later success; judged by the jobs as they were last looked at."""

    def __init__(self) -> None:
        self._open: dict[tuple[Pair, JobKey | None], ExpectedFailure] = {}
        self._shown: dict[JobKey, Seen] = {}
        self._succeeded: dict[Pair, set[JobKey]] = {}

    def apply(self, key: JobKey, now: Seen, events: Sequence[Expected]) -> list[Expected]:
        """Take in one look and what it tells; returns the recoveries."""
        for pair in self._shown[key].pairs("success") if key in self._shown else ():
            self._succeeded[pair].discard(key)
        self._shown[key] = now
        touched = now.pairs("success")
        for pair in touched:
            self._succeeded.setdefault(pair, set()).add(key)
        for event in events:
            for pair in event.new | (event.failed or frozenset()):
                self._fail(pair, key, new=pair in event.new)
                touched.add(pair)
        recovered = []
        for pair in touched:
            place = _place(pair, key)
            incident = self._open.get(place)
            if incident and self._overcome(pair, incident.last):
                recovered.append(self._open.pop(place))
        whole = frozenset((*incident.pair, incident.opener[0]) for incident in recovered)
        return [Expected(RECOVERY, key, recovered=whole)] if whole else []

    def _fail(self, pair: Pair, key: JobKey, *, new: bool) -> None:
        """A failure is told, newly or once more in a job.failed, which opens what was closed meanwhile."""
        incident = self._open.get(_place(pair, key))
        if incident is None:
            if new or not self._overcome(pair, key):
                self._open[_place(pair, key)] = ExpectedFailure(pair, key, key)
        elif self._shown[key].order >= self._shown[incident.last].order:
            incident.last = key

    def _overcome(self, pair: Pair, failing: JobKey) -> bool:
        """Whether the job itself, or a later one, shows the pair as a success."""
        jobs = self._succeeded.get(pair, set())
        if failing in jobs or None in pair:
            return failing in jobs
        return any(self._shown[job].order > self._shown[failing].order for job in jobs)


def _place(pair: Pair, key: JobKey) -> tuple[Pair, JobKey | None]:
    """A pair that lacks half its name is known within its own job only."""
    return pair, (key if None in pair else None)
