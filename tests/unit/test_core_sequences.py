"""Whatever a controller does and whichever of its states are seen, nothing is lost, doubled or invented.

The controllers made here push to an appliance in one job at a time, and no row is left open by an end.
"""

from collections import Counter
from collections.abc import Iterator

from hypothesis import given, settings

from cmc_notify.core.events import EventType
from cmc_notify.core.model import Job, Outcome, Pair, Status
from support.histories import (
    FINAL,
    Watched,
    World,
    histories,
)


@given(histories())
@settings(max_examples=120)
def test_polls_that_skip_states_end_alike(both: tuple[list[World], list[World]]) -> None:
    """With each run's end seen: the same final events, open failures and last failing jobs."""
    whole, part = (Watched(worlds) for worlds in both)
    assert whole.finals() == part.finals()
    assert whole.open() == part.open()


@given(histories())
@settings(max_examples=120)
def test_each_observation_announces_exactly_what_it_shows(both: tuple[list[World], list[World]]) -> None:
    """Each event of a job follows from two observations in a row, and comes in the contract's order."""
    for worlds in both:
        watched = Watched(worlds)
        before: World = {}
        told: dict[int, set[Pair]] = {}
        over: set[int] = set()
        for world, events in zip(worlds, watched.polls, strict=True):
            for number, job in world.items():
                got = [e for e in events if e.job and e.job.id == number]
                types = [e.type.value for e in got if e.type != EventType.APPLIANCE_RECOVERED]
                assert types == list(_due(before.get(number), job, told.setdefault(number, set()), over))
            before = world


def _due(before: Job | None, job: Job, told: set[Pair], over: set[int]) -> Iterator[str]:
    """Return the event types due for an observation, without recoveries; updates ``told`` and ``over``."""
    if before == job:
        return
    # Of an ended job an unknown status says nothing, so what comes after it is still the reopening.
    if job.id in over and (job.status in (Status.QUEUED, Status.IN_PROGRESS) or job.finished):
        over.remove(job.id)
        told.clear()
        yield "job.reopened"
    told -= {pair for pair, outcome in job.outcomes().items() if outcome is not Outcome.FAILED}
    if before is None and job.status == "Queued":
        yield "job.queued"
    if job.status == "InProgress":
        if before is None or before.status != "InProgress":
            yield "job.started"
        elif before.outcomes() != job.outcomes():
            yield "job.progress"
    newly = job.failed_pairs() - told
    told |= newly
    if newly and job.status != "Failed":
        yield "appliance.failed"
    if job.finished:
        over.add(job.id)
        yield FINAL[job.status]


@given(histories())
@settings(max_examples=100)
def test_each_newly_failed_pair_is_new_once(both: tuple[list[World], list[World]]) -> None:
    """Exactly as often as an observation in a run shows a pair failed that the one before did not."""
    for worlds in both:
        watched = Watched(worlds)
        due: Counter[tuple[int, Pair]] = Counter()
        before: World = {}
        for world in worlds:
            for number, job in world.items():
                last = before.get(number)
                same_run = last is not None and not (last.finished and last != job)
                failed_before = last.failed_pairs() if last and same_run else set()
                due.update((number, pair) for pair in job.failed_pairs() - failed_before)
            before = world
        got = Counter(
            (event.job.id, Pair(failure.serial, failure.feature_id))
            for event in watched.events
            if event.job
            for failure in event.failures
            if failure.new
        )
        assert got == due


@given(histories())
@settings(max_examples=100)
def test_nothing_is_announced_twice(both: tuple[list[World], list[World]]) -> None:
    """(job, revision, type) never repeats, ids sort in order, an unchanged poll has no events."""
    for worlds in both:
        watched = Watched([world for world in worlds for _ in range(2)])
        assert len(watched.told) == len(set(watched.told))
        ids = [event.id for event in watched.events]
        assert ids == sorted(set(ids))
        keys = [delivery.id for delivery in watched.deliveries]
        assert len(keys) == len(set(keys))
        assert not any(watched.polls[1::2])
