"""Test recoveries, tickets and silences over any history."""

from collections import Counter
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.diff import PollPolicy
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.model import Job, Outcome, Pair
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Route
from cmc_notify.core.silences import Silence
from support.core_bridge import Bridge, ended, rows
from support.histories import (
    Watched,
    World,
    histories,
    play,
    scripts,
)


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
