"""Whatever a controller does and whichever of its states are seen, nothing is lost, doubled or invented.

The controllers made here push to an appliance in one job at a time, and no row is left open by an end.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cmc_notify.core.delivery import NewDelivery, Purpose
from cmc_notify.core.diff import PollPolicy
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.model import Job, Outcome, Pair, Row, Status
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Route
from cmc_notify.core.silences import Silence
from support.core_bridge import Bridge, ended, rows

World = dict[int, Job]
"""The controller's jobs at one moment, by id."""

FINAL = {"Success": "job.succeeded", "Failed": "job.failed", "Canceled": "job.canceled"}
ACTIONS = {
    None: ("create", "run", "run", "create"),
    "Queued": ("run", "run", "run", "nothing"),
    "InProgress": ("fail", "end", "succeed", "end", "fail", "end", "pause", "fail"),
    "Paused": ("go on", "go on", "nothing", "go on"),
}
AFTER_THE_END = ("run", "nothing", "requeue", "run")

scripts = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 7), st.integers(0, 5)), min_size=6, max_size=30
)


def play(script: Sequence[tuple[int, int, int]]) -> list[World]:
    """A controller's states, one for each step of the script, which names a job, an action, a detail."""
    world: World = {}
    history = []
    for time, (number, choice, pick) in enumerate(script, 1000):
        job = world.get(number)
        actions = AFTER_THE_END if job and job.finished else ACTIONS[job.status if job else None]
        changed = _act(world, actions[choice % len(actions)], number, pick, time)
        world = world | ({number: changed} if changed else {})
        history.append(world)
    return history


def _act(  # noqa: PLR0911  one line for each action
    world: World, action: str, number: int, pick: int, time: int
) -> Job | None:
    job = world.get(number) or Job(id=number, status="Queued", creation_time=time)
    match action:
        case "create":
            return job
        case "run":
            return _started(world, job, pick, time)
        case "requeue":
            return replace(job, status="Queued", push_time=None, completion_time=None, rows=())
        case "pause":
            return replace(job, status="Paused")
        case "go on":
            return replace(job, status="InProgress")
        case "fail" | "succeed":
            done = list(job.rows)
            place = pick % len(done)
            outcome = Outcome.FAILED if action == "fail" else Outcome.SUCCEEDED
            done[place] = replace(done[place], outcome=outcome)
            return replace(job, rows=tuple(done))
        case "end":
            rest = Outcome.FAILED if pick % 2 else Outcome.SUCCEEDED
            ended_rows = tuple(
                replace(row, outcome=rest) if row.outcome is Outcome.PENDING else row for row in job.rows
            )
            return replace(job, status=tuple(FINAL)[pick % 3], rows=ended_rows, completion_time=time)
    return None


def _started(world: World, job: Job, pick: int, time: int) -> Job | None:
    """Running; None where another job is busy with one of its appliances."""
    wanted = (("V1",), ("V2",), ("V1", "V2"))[pick % 3]
    busy = {
        row.serial
        for other in world.values()
        if other.status in ("InProgress", "Paused")
        for row in other.rows
    }
    if busy & set(wanted):
        return None
    fresh = tuple(Row(serial, 3, Outcome.PENDING) for serial in wanted)
    return replace(job, status="InProgress", push_time=time, completion_time=None, rows=fresh)


def ends(history: Sequence[World]) -> set[int]:
    """The steps that show the end of a run last, and the last step."""
    seen = {len(history) - 1}
    for step, (before, after) in enumerate(pairwise(history)):
        seen |= {step for number, job in before.items() if job.finished and after[number] != job}
    return seen


class Watched:
    """A bridge that polled some states of a history, with every event that it announced."""

    def __init__(self, worlds: Sequence[World], policy: PollPolicy | None = None) -> None:
        self.bridge = Bridge(chat=SinkProfile(updates_every=0.0))
        self.bridge.policy = policy or PollPolicy(settle=0, progress=True)
        self.polls: list[list[Event]] = []
        self.deliveries: list[NewDelivery] = []
        self.told: list[tuple[str, int, str]] = []
        for world in worlds:
            self.bridge.poll(*world.values())
            self.polls.append(self.bridge.events)
            self.deliveries += self.bridge.deliveries
            for event in self.bridge.events:
                self.told.append((*self.bridge.event_uids[event.id], event.type))

    @property
    def events(self) -> list[Event]:
        """All events in the order of telling."""
        return [event for poll in self.polls for event in poll]

    def of(self, number: int) -> list[Event]:
        """The events about one job."""
        return [event for event in self.events if event.job and event.job.id == number]

    def finals(self) -> dict[int, list[tuple[str, frozenset[Pair]]]]:
        """Each job's final events, with the failed pairs that each announces."""
        return {
            number: [
                (event.type.value, frozenset(Pair(f.serial, f.feature_id) for f in event.failures))
                for event in self.of(number)
                if event.type in FINAL.values()
            ]
            for number in (1, 2, 3)
        }

    def open(self) -> set[tuple[Pair, str]]:
        """The open failures: the pair and the job that failed it last."""
        return {(incident.pair, incident.last_job_uid) for incident in self.bridge.open}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[World], list[World]]:
    """A history, and a part of it that holds each run's end and the last state."""
    history = play(draw(scripts))
    kept = ends(history) | draw(st.sets(st.integers(0, len(history) - 1)))
    return history, [history[step] for step in sorted(kept)]


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


@given(histories())
@settings(max_examples=100)
def test_a_recovery_ends_an_announced_failure_and_never_overtakes_it(
    both: tuple[list[World], list[World]],
) -> None:
    """Each closed failure has one recovery, which waits for the deliveries made before it."""
    watched = Watched(both[1])
    recovered = [(r.serial, r.failed_job_id) for event in watched.events for r in event.recoveries]
    closed = [i for i in watched.bridge.incidents.values() if i.closed_at is not None]
    assert Counter(recovered) == Counter((i.serial, i.job_id) for i in closed)
    made: set[str] = set()
    kinds = {event.id: event.type for event in watched.events}
    for delivery in watched.deliveries:
        if kinds[delivery.event_id] == EventType.APPLIANCE_RECOVERED:
            assert delivery.waits_for
            assert set(delivery.waits_for) <= made
        else:
            assert not delivery.waits_for
        made.add(delivery.id)


results = st.dictionaries(
    st.sampled_from(["V1", "V2", "V3"]), st.sampled_from(["failed", "succeeded"]), min_size=1
)
finished_jobs = st.lists(results, min_size=1, max_size=6).map(
    lambda pushes: [
        ended(n, "Failed" if "failed" in push.values() else "Success", 1000 + 10 * n, *rows(**push))
        for n, push in enumerate(pushes, 1)
    ]
)


@given(st.data())
@settings(max_examples=100)
def test_the_order_in_which_jobs_are_found_does_not_matter(data: st.DataObject) -> None:
    """Late or together: the last push's failures are open, and each failure and each end was announced."""
    jobs = data.draw(finished_jobs)
    order = data.draw(st.permutations(jobs))
    together = data.draw(st.integers(1, len(jobs)))
    bridge = Bridge()
    new: list[tuple[int, str | None]] = []
    for start in range(0, len(order), together):
        bridge.poll(*order[start : start + together])
        new += [(e.job.id, f.serial) for e in bridge.events if e.job for f in e.failures if f.new]
    assert sorted(new) == sorted((job.id, pair.serial) for job in jobs for pair in job.failed_pairs())
    last: dict[Pair, Job] = {}
    for job in jobs:
        last |= dict.fromkeys(job.outcomes(), job)
    still = {(pair, f"{job.id}-100") for pair, job in last.items() if pair in job.failed_pairs()}
    assert {(incident.pair, incident.last_job_uid) for incident in bridge.open} == still


row_sets = st.dictionaries(
    st.sampled_from(["V1", "V2"]), st.sampled_from(["pending", "running", "failed", "succeeded"])
)


@given(st.lists(st.tuples(st.floats(1, 40), row_sets), min_size=1, max_size=8))
@settings(max_examples=120)
def test_a_failure_is_announced_once_and_in_time_however_its_details_come(
    looks: list[tuple[float, dict[str, str]]],
) -> None:
    """At the first poll after ``settle`` at the latest, at once when complete; later pairs come apart."""
    bridge = Bridge()
    bridge.policy = PollPolicy(settle=60)
    begun: float | None = None
    finals: list[Event] = []
    failed: set[Pair] = set()
    due: Counter[Pair] = Counter()
    new: Counter[Pair] = Counter()
    for gap, details in looks:
        job = ended(1, "Failed", 300, *rows(**details))
        bridge.poll(job, after=gap)
        begun = bridge.now if begun is None else begun
        was_told = bool(finals)
        finals += [event for event in bridge.events if event.type == EventType.JOB_FAILED]
        complete = bool(details) and not job.unfinished_rows
        assert bool(finals) == (was_told or complete or bridge.now >= begun + 60)
        if finals and not was_told:
            assert finals[0].job
            assert finals[0].job.details_pending is not complete
        now = job.failed_pairs()
        otherwise = {pair for pair, outcome in job.outcomes().items() if outcome is not Outcome.FAILED}
        failed -= otherwise
        if finals:
            due.update(now - failed)
            failed |= now
        new.update(Pair(f.serial, f.feature_id) for e in bridge.events for f in e.failures if f.new)
    assert len(finals) <= 1
    assert new == due


class TicketServer:
    """The open tickets at a ticketing system that accepted everything that a bridge sent it."""

    def __init__(self, rule: Route) -> None:
        self.bridge = Bridge((rule,), desk=SinkProfile(tickets=True))
        self.open: set[str] = set()

    def poll(self, world: World) -> None:
        """One poll, and what it sends."""
        self.bridge.poll(*world.values())
        for delivery in self.bridge.deliveries:
            if delivery.sink and delivery.purpose is Purpose.NOTIFY:
                self.open.add(delivery.subject)
            elif delivery.sink and delivery.purpose is Purpose.CLOSE:
                self.open.discard(delivery.subject)

    @property
    def needed(self) -> set[str]:
        """The tickets of what is failed."""
        return {subject for incident in self.bridge.open for subject in incident.tickets.get("desk", ())}


@given(histories(), st.booleans(), st.integers(1, 3))
@settings(max_examples=120)
def test_a_ticket_is_open_exactly_while_something_of_it_is_failed(
    both: tuple[list[World], list[World]],
    per_failure: bool,
    most: int,
) -> None:
    """None is left open for ever, and none closed too early, but by a whole job's success."""
    for worlds in both:
        desk = TicketServer(Route(sinks=("desk",), per_failure=per_failure, max_per_job=most))
        succeeded: set[str] = set()
        for world in worlds:
            desk.poll(world)
            for event in desk.bridge.events:
                if event.job and event.type is EventType.JOB_SUCCEEDED:
                    succeeded.add(f"job:emea:{desk.bridge.event_uids[event.id][0]}")
            assert desk.open <= desk.needed
            assert desk.needed - desk.open <= succeeded


def shown_to_mail(bridge: Bridge) -> Iterator[tuple[EventType, str]]:
    """Return what the last poll sends by mail: each failed or recovered serial, by the event's type."""
    for event in bridge.events:
        for delivery in bridge.deliveries:
            if (delivery.event_id, delivery.sink) == (event.id, "mail"):
                pairs = event.recoveries or event.failures
                indices = range(len(pairs)) if delivery.shown is None else delivery.shown
                yield from ((event.type, pairs[index].serial or "") for index in indices)


@settings(max_examples=60, deadline=None)
@given(scripts, st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_silence_changes_the_recipients_of_one_appliance_and_nothing_else(
    script: Sequence[tuple[int, int, int]], silent: Sequence[bool]
) -> None:
    """Events, open failures and all other notifications stay the same.

    V1's failures are hidden while the silence is active, and only then. Its recovery goes to the sinks that
    were notified of a failure.
    """
    plain, silenced = Bridge(), Bridge()
    told_of_v1 = False
    for world, quiet in zip(play(script), silent, strict=False):
        hushed = Silence(
            id="s", serials=("V1",), starts_at=0.0, ends_at=1e12, created_by="ops", created_at=0.0
        )
        silenced.silences = [hushed] if quiet else []
        plain.poll(*world.values())
        silenced.poll(*world.values())
        assert silenced.events == plain.events
        assert {each.pair for each in silenced.open} == {each.pair for each in plain.open}
        whole, left = list(shown_to_mail(plain)), list(shown_to_mail(silenced))
        assert [each for each in left if each[1] != "V1"] == [each for each in whole if each[1] != "V1"]
        for kind, serial in whole:
            if serial != "V1":
                continue
            if kind is EventType.APPLIANCE_RECOVERED:
                assert ((kind, serial) in left) is told_of_v1
                told_of_v1 = False
            else:
                assert ((kind, serial) in left) is not quiet
                told_of_v1 = told_of_v1 or not quiet
