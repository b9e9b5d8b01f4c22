"""The dispatcher over a real SQLite store, with sinks that answer as a script says."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dispatcher_stage import HOUR, START, Act, Faulty, Scripted, Stage, empty_stage, hang, make_brisk

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.samples import sample
from cmc_notify.dispatcher import worker
from cmc_notify.ports import Message, PartRecorder


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty stage."""
    async with empty_stage(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a test would spend for nothing are short."""
    make_brisk(monkeypatch)


async def burst(_message: Message, _record: PartRecorder) -> SendOutcome:
    """A fault in a sink."""
    raise ZeroDivisionError


async def cancel_itself(_message: Message, _record: PartRecorder) -> SendOutcome:
    """A library's inner task was cancelled."""
    raise asyncio.CancelledError


async def say_nothing(_message: Message, _record: PartRecorder) -> Any:
    """A third party's sink that forgot to return."""
    return


@pytest.mark.parametrize(
    ("outcome", "word", "state", "attempts", "wait", "unclear"),
    [
        (Sent("ts-1"), "sent", DeliveryState.SENT, 1, None, False),
        (RetryLater("busy", 17), "retry", DeliveryState.PENDING, 1, (17, 17), False),
        (RetryLater("busy"), "retry", DeliveryState.PENDING, 1, (2.5, 5), False),
        (Unclear("lost"), "unclear", DeliveryState.PENDING, 1, (2.5, 5), True),
        (Rejected("too large"), "rejected", DeliveryState.DEAD, 1, None, False),
        (Blocked("token revoked"), "blocked", DeliveryState.PENDING, 0, (30, 30), False),
        (hang, "unclear", DeliveryState.PENDING, 1, (2.5, 5), True),
        (burst, "unclear", DeliveryState.PENDING, 1, (2.5, 5), True),
        (cancel_itself, "unclear", DeliveryState.PENDING, 1, (2.5, 5), True),
        (say_nothing, "unclear", DeliveryState.PENDING, 1, (2.5, 5), True),
    ],
)
async def test_each_outcome_is_written_down(  # noqa: PLR0917  parametrized by name
    stage: Stage,
    outcome: SendOutcome | Act,
    word: str,
    state: DeliveryState,
    attempts: int,
    wait: tuple[float, float] | None,
    unclear: bool,
) -> None:
    """What came of a send shows in state, attempts, due time, doubt and metric, whatever the sink did."""
    event = await stage.tell("chat")
    async with stage.running(Scripted("chat", outcome)):
        row = await stage.until(f"{event}-chat", lambda row: bool(row.last_error or row.receipt))
    assert (row.state, row.attempts, row.unclear) == (state, attempts, unclear)
    if wait:
        assert wait[0] <= row.due_at - START <= wait[1]
    if isinstance(outcome, Sent):
        assert row.receipt == outcome.receipt
    elif not callable(outcome):
        assert row.last_error == outcome.reason
    assert stage.count("chat", word) == 1


async def test_a_retry_carries_key_attempt_doubt_and_parts(stage: Stage) -> None:
    """The next attempt has the same key, its number, the doubt, and the parts that were accepted."""

    async def half(_message: Message, record: PartRecorder) -> SendOutcome:
        await record("message", "ts-1")
        return Unclear("lost")

    sink = Scripted("chat", half)
    event = await stage.tell("chat")
    async with stage.running(sink):
        await stage.until(f"{event}-chat", lambda row: row.attempts == 1)
        assert len(sink.got) == 1
        stage.later(5)
        await sink.attempts(2)
    first, second = sink.got
    assert (first.attempt, first.unclear, dict(first.parts)) == (1, False, {})
    assert (second.attempt, second.unclear, dict(second.parts)) == (2, True, {"message": "ts-1"})
    assert first.key == second.key == f"{event}-chat"


async def test_a_verdict_that_the_store_refuses_is_written_once_it_takes_it(stage: Stage) -> None:
    """While the store fails to record, the message is not sent again and its end is not lost."""
    sink = Scripted("chat")
    faulty = Faulty(stage.store.outbox, "record", 3)
    event = await stage.tell("chat")
    async with stage.running(sink, outbox=faulty):
        row = await stage.until(f"{event}-chat", lambda row: row.state is DeliveryState.SENT)
    assert row.receipt == "r"
    assert faulty.failures == 0
    assert len(sink.got) == 1


async def test_an_outage_beyond_the_lease_repeats_nothing(stage: Stage) -> None:
    """However long the store refuses a verdict, it is kept; nothing else is claimed until it is written."""
    sink = Scripted("chat")
    faulty = Faulty(stage.store.outbox, "record", 1_000_000)
    first, second = [await stage.tell("chat") for _ in range(2)]
    async with stage.running(sink, outbox=faulty, concurrency=1):
        await sink.attempts(1)
        for _ in range(3):
            refused = faulty.failures
            stage.later(60)
            async with asyncio.timeout(5):
                while faulty.failures > refused - 3:  # noqa: ASYNC110  the store sets no event
                    await asyncio.sleep(0.005)
        assert len(sink.got) == 1
        faulty.failures = 0
        await stage.until(f"{first}-chat", lambda row: row.state is DeliveryState.SENT)
        await stage.until(f"{second}-chat", lambda row: row.state is DeliveryState.SENT)
    assert [(message.key, message.unclear) for message in sink.got] == [
        (f"{first}-chat", False),
        (f"{second}-chat", False),
    ]


async def test_what_is_owed_to_the_store_is_claimed_by_nobody_here(stage: Stage) -> None:
    """Places are free, but who can't record must not send more."""
    sink = Scripted("chat")
    faulty = Faulty(stage.store.outbox, "record", 1_000_000)
    await stage.tell("chat")
    async with stage.running(sink, outbox=faulty, concurrency=4) as running:
        await sink.attempts(1)
        async with asyncio.timeout(5):
            while faulty.failures == 1_000_000:  # noqa: ASYNC110  the store sets no event
                await asyncio.sleep(0.005)
        await stage.tell("chat")
        running.wake()
        await asyncio.sleep(0.05)
        assert len(sink.got) == 1
        faulty.failures = 0
        await sink.attempts(2)


async def test_a_verdict_never_recorded_comes_back_unclear(stage: Stage) -> None:
    """Where the process ends before the store takes the verdict, the message is sent again, in doubt."""
    sink = Scripted("chat")
    event = await stage.tell("chat")
    async with stage.running(sink, outbox=Faulty(stage.store.outbox, "record", 1_000_000)):
        await sink.attempts(1)
    stage.clock.now += 60
    async with stage.running(sink):
        await stage.until(f"{event}-chat", lambda row: row.state is DeliveryState.SENT)
    assert [(message.key, message.unclear) for message in sink.got] == [
        (f"{event}-chat", False),
        (f"{event}-chat", True),
    ]


@pytest.mark.parametrize("method", ["claim", "next_due"])
async def test_a_store_that_fails_is_asked_again(stage: Stage, method: str) -> None:
    """Deliveries go on by themselves when the store works again."""
    sink = Scripted("chat")
    faulty = Faulty(stage.store.outbox, method, 2)
    async with stage.running(sink, outbox=faulty) as running:
        await stage.tell("chat")
        running.wake()
        await sink.attempts(1)


async def test_a_bug_between_store_and_sink_stops_no_sink(stage: Stage) -> None:
    """Whatever is raised while claiming is logged, and the worker goes on."""
    sink = Scripted("chat")
    await stage.tell("chat")
    async with stage.running(sink, outbox=_Odd(stage.store.outbox)):
        await sink.attempts(1)


class _Odd(Faulty):
    """Fails its first claim in a way that no store should."""

    def __init__(self, outbox: Any) -> None:
        super().__init__(outbox, "claim", 1)

    async def _fail(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError


async def test_a_part_that_can_not_be_recorded_leaves_doubt(stage: Stage) -> None:
    """A store that fails in the middle of a message of several parts makes it unclear, not lost."""

    async def one(_message: Message, record: PartRecorder) -> SendOutcome:
        await record("message", "ts-1")
        return Sent("ts-1")

    event = await stage.tell("chat")
    async with stage.running(Scripted("chat", one), outbox=Faulty(stage.store.outbox, "record_part", 1)):
        row = await stage.until(f"{event}-chat", lambda row: row.attempts == 1)
    assert row.unclear
    assert row.last_error == "the store failed while sending: disk full"


async def test_a_lost_lease_writes_nothing(stage: Stage) -> None:
    """Who lost the lease meanwhile does not write over what the new holder does."""
    go = asyncio.Event()

    async def slow(_message: Message, _record: PartRecorder) -> SendOutcome:
        await go.wait()
        return Rejected("too late to matter")

    sink = Scripted("chat", slow)
    event = await stage.tell("chat")
    async with stage.running(sink, timeout=20.0, concurrency=1):
        await sink.attempts(1)
        stage.clock.now += 1000
        [other] = await stage.store.outbox.claim("chat", owner="there", limit=1, lease=1000)
        go.set()
        await stage.until(f"{event}-chat", lambda _row: stage.count("chat", "rejected") == 1)
    row = await stage.delivery(f"{event}-chat")
    assert other.delivery.unclear
    assert (row.state, row.attempts, row.leased_until) == (DeliveryState.PENDING, 0, stage.clock.now + 1000)


async def test_concurrency_is_a_limit(stage: Stage) -> None:
    """Never more sends at once than the sink allows; the rest follow as there is room."""
    go = asyncio.Event()

    async def slow(_message: Message, _record: PartRecorder) -> SendOutcome:
        await go.wait()
        return Sent()

    sink = Scripted("chat", otherwise=slow)
    last = [await stage.tell("chat") for _ in range(7)][-1]
    async with stage.running(sink, concurrency=3, timeout=20.0) as running:
        await sink.attempts(3)
        running.wake()
        await asyncio.sleep(0.05)
        assert len(sink.got) == 3
        go.set()
        await stage.until(f"{last}-chat", lambda row: row.state is DeliveryState.SENT)
    assert sink.most == 3


async def test_one_key_keeps_its_order_while_others_overtake(stage: Stage) -> None:
    """What belongs together goes one after the other, also behind a retry; other keys do not wait."""
    sink = Scripted("chat", RetryLater("busy", 10))
    first = await stage.tell("chat", ordering_key="job")
    second = await stage.tell("chat", ordering_key="job")
    third = await stage.tell("chat", ordering_key="other")
    async with stage.running(sink):
        await stage.until(f"{third}-chat", lambda row: row.state is DeliveryState.SENT)
        await stage.until(f"{first}-chat", lambda row: row.attempts == 1)
        stage.later(10)
        await stage.until(f"{second}-chat", lambda row: row.state is DeliveryState.SENT)
    assert [message.event.id for message in sink.got] == [first, third, first, second]


async def test_a_resolve_waits_for_its_trigger(stage: Stage) -> None:
    """A delivery that waits for another is sent only once that is sent or dead."""
    sink = Scripted("chat", RetryLater("busy", 10), Rejected("never"))
    first = await stage.tell("chat", ordering_key="job 1")
    second = await stage.tell("chat", ordering_key="job 2", waits_for=(f"{first}-chat",))
    async with stage.running(sink) as running:
        await stage.until(f"{first}-chat", lambda row: row.attempts == 1)
        running.wake()
        stage.later(10)
        await stage.until(f"{second}-chat", lambda row: row.state is DeliveryState.SENT)
    assert [message.event.id for message in sink.got] == [first, first, second]


async def test_a_blocked_sink_holds_its_queue_and_goes_on_by_itself(stage: Stage) -> None:
    """One delivery at a time asks whether the cause is gone; then all go, and none is a dead letter."""
    sink = Scripted("chat", otherwise=Blocked("token revoked"))
    events = [await stage.tell("chat") for _ in range(5)]
    async with stage.running(sink, concurrency=2) as running:
        await sink.attempts(2)
        await stage.until(f"{events[1]}-chat", lambda row: row.last_error is not None)
        await stage.until(f"{events[0]}-chat", lambda row: row.last_error is not None)
        assert running.blocked == {"chat": "token revoked"}
        assert stage.metrics.sink_blocked.labels("chat")._value.get() == 1
        for probes in range(1, 10):
            running.wake()
            stage.later(29.0)
            await asyncio.sleep(0.02)
            assert len(sink.got) == 1 + probes
            stage.later(HOUR)
            await sink.attempts(2 + probes)
            await stage.until(sink.got[-1].key, lambda row: row.leased_until is None)
        sink.otherwise = Sent()
        stage.later(30)
        for event in events:
            row = await stage.until(f"{event}-chat", lambda row: row.state is not DeliveryState.PENDING)
            assert (row.state, row.attempts) == (DeliveryState.SENT, 1)
        assert running.blocked == {}
        assert stage.metrics.sink_blocked.labels("chat")._value.get() == 0


async def test_trouble_after_a_long_block_makes_no_dead_letters(stage: Stage) -> None:
    """Deadlines start anew while a sink is blocked: a rush that is throttled at its end is tried again."""
    sink = Scripted("chat", otherwise=Blocked("token revoked"))
    events = [await stage.tell("chat") for _ in range(3)]
    async with stage.running(sink, concurrency=1):
        await sink.attempts(1)
        await stage.until(f"{events[0]}-chat", lambda row: row.last_error is not None)
        stage.later(2 * HOUR)
        await sink.attempts(2)
        row = await stage.until(f"{events[2]}-chat", lambda row: row.deadline_at > START + 2 * HOUR)
        assert row.deadline_at == stage.clock() + HOUR
        sink.script.extend([Sent(), RetryLater("throttled", HOUR / 2 - 60)])
        sink.otherwise = Sent()
        stage.later(30)
        row = await stage.until(f"{events[0]}-chat", lambda row: row.attempts == 1)
        assert row.state is DeliveryState.PENDING
        stage.later(HOUR / 2 - 60)
        for event in events:
            await stage.until(f"{event}-chat", lambda row: row.state is DeliveryState.SENT)


@pytest.mark.parametrize("trouble", [RetryLater("busy"), Unclear("lost")])
async def test_a_probe_that_says_nothing_keeps_the_sink_blocked(stage: Stage, trouble: SendOutcome) -> None:
    """Only who judges a message takes messages again; after other trouble the next probe waits its turn."""
    sink = Scripted("chat", Blocked("token revoked"), trouble)
    events = [await stage.tell("chat") for _ in range(3)]
    async with stage.running(sink, concurrency=1) as running:
        await stage.until(f"{events[0]}-chat", lambda row: row.last_error is not None)
        stage.later(30)
        await sink.attempts(2)
        await asyncio.sleep(0.05)
        assert len(sink.got) == 2
        assert running.blocked == {"chat": "token revoked"}
        stage.later(30)
        await sink.attempts(5)


async def test_a_refused_message_ends_the_block(stage: Stage) -> None:
    """A receiver that refuses one message for what it is takes the others."""
    sink = Scripted("chat", Blocked("token revoked"), Rejected("too large"))
    events = [await stage.tell("chat") for _ in range(3)]
    async with stage.running(sink, concurrency=1):
        await stage.until(f"{events[0]}-chat", lambda row: row.last_error is not None)
        stage.later(30)
        await stage.until(f"{events[2]}-chat", lambda row: row.state is DeliveryState.SENT)


async def test_a_blocked_sink_with_nothing_to_send_does_not_spin(stage: Stage) -> None:
    """When the probe's delivery is out of reach, the store is asked now and then, not all the time."""
    claims = 0
    sink = Scripted("chat", Blocked("token revoked"))
    event = await stage.tell("chat")

    class Counting(Faulty):
        async def claim(self, *args: Any, **named: Any) -> Any:
            nonlocal claims
            claims += 1
            return await stage.store.outbox.claim(*args, **named)

    async with stage.running(sink, outbox=Counting(stage.store.outbox, "", 0)):
        await stage.until(f"{event}-chat", lambda row: row.last_error is not None)
        stage.clock.now += 30
        await stage.store.outbox.claim("chat", owner="there", limit=1, lease=1000)
        before = claims
        assert stage.dispatcher
        stage.dispatcher.wake()
        await asyncio.sleep(0.2)
        assert claims - before <= 3


async def test_a_hanging_sink_delays_no_other(stage: Stage) -> None:
    """Each sink is served by itself."""
    slow, quick = Scripted("slow", otherwise=hang), Scripted("quick")
    await stage.tell("slow", "quick")
    async with stage.running(slow, quick, timeout=30.0, concurrency=1):
        await slow.attempts(1)
        for number in range(2, 5):
            await stage.tell("slow", "quick")
            assert stage.dispatcher
            stage.dispatcher.wake()
            await quick.attempts(number)
        assert len(slow.got) == 1


async def test_a_delivery_is_sent_when_it_is_due(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to wake the worker for what it knows to come."""
    sink = Scripted("chat")
    await stage.tell("chat", due_at=START + 0.1)
    async with stage.running(sink):
        await asyncio.sleep(0.05)
        assert not sink.got
        stage.clock.now += 0.1
        await sink.attempts(1)


async def test_what_others_make_due_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry from the command line, in another process, wakes nobody and is found all the same."""
    monkeypatch.setattr(worker, "LOOK_AGAIN", 0.05)
    sink = Scripted("chat")
    async with stage.running(sink):
        await asyncio.sleep(0.02)
        await stage.tell("chat")
        await sink.attempts(1)


async def test_the_fallback_takes_over_what_is_dead(stage: Stage) -> None:
    """A dead delivery goes out at once through the fallback, as the same route showed it."""
    chat, mail = Scripted("chat", Rejected("never")), Scripted("mail")
    event = await stage.tell("chat", shown=(1,))
    async with stage.running(chat, mail, fallback="mail"):
        await mail.attempts(1)
        row = await stage.until(f"{event}-mail-for-chat", lambda row: row.state is DeliveryState.SENT)
    assert (await stage.delivery(f"{event}-chat")).state is DeliveryState.DEAD
    assert mail.got[0].event.failures == chat.got[0].event.failures
    assert row.deadline_at == START + RetryPolicy().deadline


async def test_a_fallback_that_was_told_anyway_is_not_told_twice(stage: Stage) -> None:
    """Where routes lead an event to the fallback too, one message is enough."""
    chat, mail = Scripted("chat", Rejected("never")), Scripted("mail")
    event = await stage.tell("chat", "mail")
    async with stage.running(chat, mail, fallback="mail"):
        await stage.until(f"{event}-chat", lambda row: row.state is DeliveryState.DEAD)
        await stage.until(f"{event}-mail", lambda row: row.state is DeliveryState.SENT)
    assert len(mail.got) == 1


async def test_only_what_the_route_shows_is_shown(stage: Stage) -> None:
    """A copy holds the failures of its route and the number of the others; the whole event stays whole."""
    sink = Scripted("chat")
    whole = sample(EventType.JOB_FAILED)
    await stage.tell("chat", shown=(1,))
    await stage.tell("chat")
    async with stage.running(sink, concurrency=1):
        await sink.attempts(2)
    some, every = (message.event for message in sink.got)
    assert some.failures == whole.failures[1:2]
    assert some.failures_outside_route == len(whole.failures) - 1
    assert (every.failures, every.failures_outside_route) == (whole.failures, 0)


async def test_only_the_recoveries_that_were_told_as_failures_are_shown(stage: Stage) -> None:
    """Indices of a recovery's delivery speak of recoveries."""
    sink = Scripted("chat")
    whole = sample(EventType.APPLIANCE_RECOVERED)
    last = len(whole.recoveries) - 1
    await stage.tell("chat", shown=(last,), event=EventType.APPLIANCE_RECOVERED)
    async with stage.running(sink):
        await sink.attempts(1)
    assert sink.got[0].event.recoveries == whole.recoveries[last:]
    assert sink.got[0].event.failures_outside_route == 0


async def test_the_link_is_signed_for_this_event(stage: Stage) -> None:
    """Each message carries the address that ``sign_link`` gives for its event, or none."""
    linked, plain = Scripted("chat"), Scripted("chat")
    event = await stage.tell("chat")
    async with stage.running(linked, sign=lambda event: f"https://bridge.example.net/{event.id}"):
        await linked.attempts(1)
    await stage.tell("chat")
    async with stage.running(plain):
        await plain.attempts(1)
    assert linked.got[0].event.url == f"https://bridge.example.net/{event}"
    assert plain.got[0].event.url is None


async def test_stop_finishes_what_is_in_flight_and_leaves_the_rest(stage: Stage) -> None:
    """Within the grace a send comes to its end and is recorded; nothing new is begun."""
    go = asyncio.Event()

    async def slow(_message: Message, _record: PartRecorder) -> SendOutcome:
        await go.wait()
        return Sent("in time")

    sink = Scripted("chat", otherwise=slow)
    first, second = await stage.tell("chat"), await stage.tell("chat")
    async with stage.running(sink, concurrency=1, timeout=20.0) as running:
        await sink.attempts(1)
        stopping = asyncio.create_task(running.stop(10))
        await asyncio.sleep(0.02)
        go.set()
        await stopping
    assert (await stage.delivery(f"{first}-chat")).receipt == "in time"
    left = await stage.delivery(f"{second}-chat")
    assert (left.state, left.attempts, left.unclear, left.leased_until) == (
        DeliveryState.PENDING,
        0,
        False,
        None,
    )
    assert len(sink.got) == 1


async def test_a_send_that_is_cut_short_comes_back_unclear(stage: Stage) -> None:
    """After the grace a send is cancelled, and its delivery comes back under the same key, in doubt."""
    event = await stage.tell("chat")
    sink = Scripted("chat", hang)
    async with stage.running(sink, timeout=20.0) as running:
        await sink.attempts(1)
        started = asyncio.get_running_loop().time()
        await running.stop(0.1)
        assert asyncio.get_running_loop().time() - started < 2
    stage.clock.now += 100
    again = Scripted("chat")
    async with stage.running(again):
        await again.attempts(1)
    assert (again.got[0].key, again.got[0].unclear, again.got[0].attempt) == (f"{event}-chat", True, 1)


async def test_a_sink_that_swallows_its_cancellation_holds_no_stop_up(stage: Stage) -> None:
    """The end comes within the grace also where a third party's sink will not let go."""
    go = asyncio.Event()

    async def stubborn(_message: Message, _record: PartRecorder) -> SendOutcome:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        return Sent()

    sink = Scripted("chat", stubborn)
    await stage.tell("chat")
    async with stage.running(sink, timeout=20.0) as running:
        await sink.attempts(1)
        async with asyncio.timeout(3):
            await running.stop(0.1)
        go.set()
        await asyncio.gather(*(task for each in running._workers.values() for task in each.in_flight))
