"""The events that a correct bridge must tell, computed from what the simulator served.

``expected`` reads the simulator's record (every answer that went out whole, every version's document) and
the contract's rules; it shares no code with the bridge. ``compare`` is strict: the order of what happened
to each job, every newly told pair, the whole list of each ``job.failed``, every recovery, each exactly
once. It is lenient in these places only, because the record cannot decide them:

- **Two looks in one poll**: how newly failed pairs are spread over several ``appliance.failed`` events of
  one job is left open; that each pair is told once, and which of them ``job.failed`` marks new, is not.
- **Settling** (``settle`` None): when ``job.failed`` falls depends on real time. It is due once per run,
  its list may be any part of what failed by the end unless it says that no details were pending, and
  the new pairs may be spread between it and ``appliance.failed``.
- **Lost polls**: a list that failed voids its poll unless it was asked again at once, which the wire does
  not show. Looks in such a poll and in the ``doubtful`` requests may or may not have counted: what only
  they show is allowed, not required.
- **Which job carries a recovery** is open; that (serial, feature, job that opened it) is told once is not.
- **What only a doubted look decides** is judged fact by fact (a type, a pair, a recovery), not by event.
- ``job.progress``, ``job.overdue``, ``controller.*`` and ``sink.*`` depend on real time and are not judged.

All this is for one controller and one run of the simulator.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from cmc_notify.simulator import Request, Simulator
from support.oracle.comparison import compare
from support.oracle.job_life import PAIRS, RECOVERY, SPINE, Expected, ExpectedFailures, JobKey, Life
from support.oracle.observations import FINISHED, Poll, Seen, doubted, is_full, looked_up, polls, read

__all__ = ["Expected", "compare", "expected"]

FirstRun = Literal["none", "open", "all"]


class _Reading:
    """One pass over the record, with or without the looks in doubt."""

    def __init__(self, sim: Simulator, first_run: FirstRun, settle: float | None) -> None:
        self.first_run = first_run
        self.settle = settle
        self.events: list[Expected] = []
        self._lives: dict[int, list[Life]] = {}
        self._failures = ExpectedFailures()
        self._versions = {(version.key, version.number): version for version in sim.history}
        self._read: dict[tuple[str, int], Seen | None] = {}

    def run(self, cut: Sequence[Poll], skipped: Collection[int]) -> list[Expected]:
        """Every event, in the order of the looks."""
        first = True
        for poll in cut:
            entries = [entry for entry in poll.requests if entry.number not in skipped]
            self._poll(entries, first=first)
            first = first and not any(is_full(entry) for entry in entries)
        for life in (life for lives in self._lives.values() for life in lives):
            self._take(life, life.end())
        return self.events

    def _poll(self, entries: Sequence[Request], *, first: bool) -> None:
        looks: dict[JobKey, list[Seen]] = {}
        asked: set[int] = set()
        for entry in entries:
            seens = list(self._seen(entry))
            number = looked_up(entry)
            if number is not None and entry.complete and (seens or entry.status == 404):
                asked.add(number)
            for seen in seens:
                looks.setdefault(self._name(seen, looks), []).append(seen)
        # changes that one poll catches up with are applied in the order in which they happened
        for key, seens in sorted(looks.items(), key=lambda item: item[1][-1].order):
            for seen in seens:
                self._look(key, seen, first=first)
        # asked for by id, and nothing came, or another job that has its id now
        for life in (life for number in asked for life in self._lives.get(number, [])):
            if life.key not in looks:
                self._take(life, life.vanish())

    def _seen(self, entry: Request) -> Iterator[Seen]:
        if not (entry.complete and entry.status == 200):
            return
        for key in entry.versions:
            if key not in self._read:
                self._read[key] = read(self._versions[key].document)
            seen = self._read[key]
            if seen is not None:
                yield seen

    def _name(self, seen: Seen, looks: Mapping[JobKey, object]) -> JobKey:
        """The job that is meant: another one only where both creation times are known and differ."""
        known = [life.key for life in self._lives.get(seen.id, [])]
        known += [key for key in looks if key[0] == seen.id and key not in known]
        for key in reversed(known):
            if seen.created == key[1] or seen.created is None or key[1] is None:
                return key
        return seen.id, seen.created

    def _look(self, key: JobKey, seen: Seen, *, first: bool) -> None:
        lives = self._lives.setdefault(seen.id, [])
        life = next((life for life in lives if life.key == key), None)
        if life is not None:
            if life.shown is not seen or life.gone:
                life.shown = seen
                self._take(life, life.look(seen, self.settle))
            return
        life = Life(key, seen, shown=seen)
        lives.append(life)
        silent = first and (
            self.first_run == "none" or (self.first_run == "open" and seen.status in FINISHED)
        )
        self._take(life, life.begin(seen, silent=silent, settle=self.settle))

    def _take(self, life: Life, events: list[Expected]) -> None:
        recoveries = self._failures.apply(life.key, life.seen, events)
        finals = [event for event in events if event.type in FINISHED.values()]
        self.events += [event for event in events if event not in finals] + recoveries + finals


def expected(
    sim: Simulator,
    *,
    first_run: FirstRun = "all",
    settle: float | None = None,
    doubtful: Collection[int] = (),
) -> list[Expected]:
    """What must have been told of everything that the simulator served.

    ``settle`` 0: nothing is held for details; None: the settle time is not known here, see above.
    ``doubtful``: numbers of requests whose poll may not have been committed (the bridge was killed).
    """
    if first_run not in ("none", "open", "all"):
        raise ValueError(f"first_run {first_run!r} depends on times; the oracle knows none, open and all")
    cut = polls(sim.requests)
    void = doubted(cut, doubtful)
    everything = _Reading(sim, first_run, settle).run(cut, ())
    if not void:
        return everything
    return _merge(everything, _Reading(sim, first_run, settle).run(cut, void))


def _merge(one: Sequence[Expected], other: Sequence[Expected]) -> list[Expected]:
    """What both readings agree on stays; the rest is taken apart into facts, optional if only one has it."""
    result: list[Expected] = []
    for key in dict.fromkeys((event.job, event.type == RECOVERY) for event in (*one, *other)):
        mine, theirs = ([e for e in events if (e.job, e.type == RECOVERY) == key] for events in (one, other))
        if mine == theirs:
            result += mine
            continue
        ours, others = (
            Counter(fact for event in events for fact in _facts(event)) for events in (mine, theirs)
        )
        result += (ours & others).elements()
        result += [replace(fact, optional=True) for fact in ((ours | others) - (ours & others)).elements()]
    return result


def _facts(event: Expected) -> Iterator[Expected]:
    """An event taken apart: its type, each new pair, each recovery."""
    if event.type in SPINE:
        yield Expected(event.type, event.job, settled=True, optional=event.optional)
    for pair in event.new:
        yield Expected(PAIRS, event.job, new=frozenset({pair}), optional=event.optional)
    for recovery in event.recovered:
        yield Expected(RECOVERY, event.job, recovered=frozenset({recovery}), optional=event.optional)
