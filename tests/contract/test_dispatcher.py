"""The dispatcher with a real SQLite store and sinks that follow a script."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.samples import sample
from cmc_notify.dispatcher import worker
from cmc_notify.ports import Message, PartRecorder
from support.dispatcher_harness import (
    HOUR,
    START,
    Act,
    DispatcherHarness,
    Faulty,
    Scripted,
    empty_harness,
    hang,
    make_brisk,
)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[DispatcherHarness]:
    """An empty harness."""
    async with empty_harness(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits short."""
    make_brisk(monkeypatch)


async def burst(_message: Message, _record: PartRecorder) -> SendOutcome:
    """A fault in a sink."""
    raise ZeroDivisionError


async def cancel_itself(_message: Message, _record: PartRecorder) -> SendOutcome:
    """A library's inner task was cancelled."""
    raise asyncio.CancelledError


async def say_nothing(_message: Message, _record: PartRecorder) -> Any:
    """A third-party sink that forgot to return."""
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
    harness: DispatcherHarness,
    outcome: SendOutcome | Act,
    word: str,
    state: DeliveryState,
    attempts: int,
    wait: tuple[float, float] | None,
    unclear: bool,
) -> None:
    """The outcome of a send shows in state, attempts, due time, unclear mark and metric."""
    event = await harness.tell("chat")
    async with harness.running(Scripted("chat", outcome)):
        row = await harness.until(f"{event}-chat", lambda row: bool(row.last_error or row.receipt))
    assert (row.state, row.attempts, row.unclear) == (state, attempts, unclear)
    if wait:
        assert wait[0] <= row.due_at - START <= wait[1]
    if isinstance(outcome, Sent):
        assert row.receipt == outcome.receipt
    elif not callable(outcome):
        assert row.last_error == outcome.reason
    assert harness.count("chat", word) == 1


async def test_a_retry_carries_key_attempt_doubt_and_parts(harness: DispatcherHarness) -> None:
    """The next attempt has the same key, its number, the unclear mark, and the accepted parts."""

    async def half(_message: Message, record: PartRecorder) -> SendOutcome:
        await record("message", "ts-1")
        return Unclear("lost")

    sink = Scripted("chat", half)
    event = await harness.tell("chat")
    async with harness.running(sink):
        await harness.until(f"{event}-chat", lambda row: row.attempts == 1)
        assert len(sink.got) == 1
        harness.later(5)
        await sink.attempts(2)
    first, second = sink.got
    assert (first.attempt, first.unclear, dict(first.parts)) == (1, False, {})
    assert (second.attempt, second.unclear, dict(second.parts)) == (2, True, {"message": "ts-1"})
    assert first.key == second.key == f"{event}-chat"


async def test_a_verdict_that_the_store_refuses_is_written_once_it_takes_it(
    harness: DispatcherHarness,
) -> None:
    """While the store fails to record, the message is not sent again and its outcome is not lost."""
    sink = Scripted("chat")
    faulty = Faulty(harness.store.outbox, "record", 3)
    event = await harness.tell("chat")
    async with harness.running(sink, outbox=faulty):
        row = await harness.until(f"{event}-chat", lambda row: row.state is DeliveryState.SENT)
    assert row.receipt == "r"
    assert faulty.failures == 0
    assert len(sink.got) == 1


async def test_an_outage_beyond_the_lease_repeats_nothing(harness: DispatcherHarness) -> None:
    """However long the store refuses a result, it is kept; nothing else is claimed until it is written."""
    sink = Scripted("chat")
    faulty = Faulty(harness.store.outbox, "record", 1_000_000)
    first, second = [await harness.tell("chat") for _ in range(2)]
    async with harness.running(sink, outbox=faulty, concurrency=1):
        await sink.attempts(1)
        for _ in range(3):
            refused = faulty.failures
            harness.later(60)
            async with asyncio.timeout(5):
                while faulty.failures > refused - 3:  # noqa: ASYNC110  the store sets no event
                    await asyncio.sleep(0.005)
        assert len(sink.got) == 1
        faulty.failures = 0
        await harness.until(f"{first}-chat", lambda row: row.state is DeliveryState.SENT)
        await harness.until(f"{second}-chat", lambda row: row.state is DeliveryState.SENT)
    assert [(message.key, message.unclear) for message in sink.got] == [
        (f"{first}-chat", False),
        (f"{second}-chat", False),
    ]


async def test_what_is_owed_to_the_store_is_claimed_by_nobody_here(harness: DispatcherHarness) -> None:
    """Slots are free, but a worker that can't record must not send more."""
    sink = Scripted("chat")
    faulty = Faulty(harness.store.outbox, "record", 1_000_000)
    await harness.tell("chat")
    async with harness.running(sink, outbox=faulty, concurrency=4) as running:
        await sink.attempts(1)
        async with asyncio.timeout(5):
            while faulty.failures == 1_000_000:  # noqa: ASYNC110  the store sets no event
                await asyncio.sleep(0.005)
        await harness.tell("chat")
        running.wake()
        await asyncio.sleep(0.05)
        assert len(sink.got) == 1
        faulty.failures = 0
        await sink.attempts(2)


async def test_a_verdict_never_recorded_comes_back_unclear(harness: DispatcherHarness) -> None:
    """If the process ends before the store accepts the result, the message is sent again, marked unclear."""
    sink = Scripted("chat")
    event = await harness.tell("chat")
    async with harness.running(sink, outbox=Faulty(harness.store.outbox, "record", 1_000_000)):
        await sink.attempts(1)
    harness.clock.now += 60
    async with harness.running(sink):
        await harness.until(f"{event}-chat", lambda row: row.state is DeliveryState.SENT)
    assert [(message.key, message.unclear) for message in sink.got] == [
        (f"{event}-chat", False),
        (f"{event}-chat", True),
    ]


@pytest.mark.parametrize("method", ["claim", "next_due"])
async def test_a_store_that_fails_is_asked_again(harness: DispatcherHarness, method: str) -> None:
    """Deliveries continue without help when the store works again."""
    sink = Scripted("chat")
    faulty = Faulty(harness.store.outbox, method, 2)
    async with harness.running(sink, outbox=faulty) as running:
        await harness.tell("chat")
        running.wake()
        await sink.attempts(1)


async def test_a_bug_between_store_and_sink_stops_no_sink(harness: DispatcherHarness) -> None:
    """Any error while claiming is logged, and the worker continues."""
    sink = Scripted("chat")
    await harness.tell("chat")
    async with harness.running(sink, outbox=_Odd(harness.store.outbox)):
        await sink.attempts(1)


class _Odd(Faulty):
    """Fails its first claim in a way that no store should."""

    def __init__(self, outbox: Any) -> None:
        super().__init__(outbox, "claim", 1)

    async def _fail(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError


async def test_a_part_that_can_not_be_recorded_leaves_doubt(harness: DispatcherHarness) -> None:
    """A store that fails in the middle of a message of several parts makes it unclear, not lost."""

    async def one(_message: Message, record: PartRecorder) -> SendOutcome:
        await record("message", "ts-1")
        return Sent("ts-1")

    event = await harness.tell("chat")
    async with harness.running(Scripted("chat", one), outbox=Faulty(harness.store.outbox, "record_part", 1)):
        row = await harness.until(f"{event}-chat", lambda row: row.attempts == 1)
    assert row.unclear
    assert row.last_error == "the store failed while sending: disk full"


async def test_a_lost_lease_writes_nothing(harness: DispatcherHarness) -> None:
    """A worker that lost the lease does not overwrite the result of the new holder."""
    go = asyncio.Event()

    async def slow(_message: Message, _record: PartRecorder) -> SendOutcome:
        await go.wait()
        return Rejected("too late to matter")

    sink = Scripted("chat", slow)
    event = await harness.tell("chat")
    async with harness.running(sink, timeout=20.0, concurrency=1):
        await sink.attempts(1)
        harness.clock.now += 1000
        [other] = await harness.store.outbox.claim("chat", owner="there", limit=1, lease=1000)
        go.set()
        await harness.until(f"{event}-chat", lambda _row: harness.count("chat", "rejected") == 1)
    row = await harness.delivery(f"{event}-chat")
    assert other.delivery.unclear
    assert (row.state, row.attempts, row.leased_until) == (DeliveryState.PENDING, 0, harness.clock.now + 1000)


async def test_concurrency_is_a_limit(harness: DispatcherHarness) -> None:
    """Never more sends at once than the sink allows; the rest follow as slots become free."""
    go = asyncio.Event()

    async def slow(_message: Message, _record: PartRecorder) -> SendOutcome:
        await go.wait()
        return Sent()

    sink = Scripted("chat", otherwise=slow)
    last = [await harness.tell("chat") for _ in range(7)][-1]
    async with harness.running(sink, concurrency=3, timeout=20.0) as running:
        await sink.attempts(3)
        running.wake()
        await asyncio.sleep(0.05)
        assert len(sink.got) == 3
        go.set()
        await harness.until(f"{last}-chat", lambda row: row.state is DeliveryState.SENT)
    assert sink.most == 3


async def test_one_key_keeps_its_order_while_others_overtake(harness: DispatcherHarness) -> None:
    """Deliveries of one key go one after the other, also behind a retry; other keys do not wait."""
    sink = Scripted("chat", RetryLater("busy", 10))
    first = await harness.tell("chat", ordering_key="job")
    second = await harness.tell("chat", ordering_key="job")
    third = await harness.tell("chat", ordering_key="other")
    async with harness.running(sink):
        await harness.until(f"{third}-chat", lambda row: row.state is DeliveryState.SENT)
        await harness.until(f"{first}-chat", lambda row: row.attempts == 1)
        harness.later(10)
        await harness.until(f"{second}-chat", lambda row: row.state is DeliveryState.SENT)
    assert [message.event.id for message in sink.got] == [first, third, first, second]


async def test_a_resolve_waits_for_its_trigger(harness: DispatcherHarness) -> None:
    """A delivery that waits for another is sent only once that is sent or dead."""
    sink = Scripted("chat", RetryLater("busy", 10), Rejected("never"))
    first = await harness.tell("chat", ordering_key="job 1")
    second = await harness.tell("chat", ordering_key="job 2", waits_for=(f"{first}-chat",))
    async with harness.running(sink) as running:
        await harness.until(f"{first}-chat", lambda row: row.attempts == 1)
        running.wake()
        harness.later(10)
        await harness.until(f"{second}-chat", lambda row: row.state is DeliveryState.SENT)
    assert [message.event.id for message in sink.got] == [first, first, second]


async def test_a_blocked_sink_holds_its_queue_and_goes_on_by_itself(harness: DispatcherHarness) -> None:
    """One delivery at a time tests if the cause is gone; then all are sent, and none is a dead letter."""
    sink = Scripted("chat", otherwise=Blocked("token revoked"))
    events = [await harness.tell("chat") for _ in range(5)]
    async with harness.running(sink, concurrency=2) as running:
        await sink.attempts(2)
        await harness.until(f"{events[1]}-chat", lambda row: row.last_error is not None)
        await harness.until(f"{events[0]}-chat", lambda row: row.last_error is not None)
        assert running.blocked == {"chat": "token revoked"}
        assert harness.metrics.sink_blocked.labels("chat")._value.get() == 1
        for probes in range(1, 10):
            running.wake()
            harness.later(29.0)
            await asyncio.sleep(0.02)
            assert len(sink.got) == 1 + probes
            harness.later(HOUR)
            await sink.attempts(2 + probes)
            await harness.until(sink.got[-1].key, lambda row: row.leased_until is None)
        sink.otherwise = Sent()
        harness.later(30)
        for event in events:
            row = await harness.until(f"{event}-chat", lambda row: row.state is not DeliveryState.PENDING)
            assert (row.state, row.attempts) == (DeliveryState.SENT, 1)
        assert running.blocked == {}
        assert harness.metrics.sink_blocked.labels("chat")._value.get() == 0


async def test_trouble_after_a_long_block_makes_no_dead_letters(harness: DispatcherHarness) -> None:
    """Deadlines restart while a sink is blocked: a delivery throttled after the block is tried again."""
    sink = Scripted("chat", otherwise=Blocked("token revoked"))
    events = [await harness.tell("chat") for _ in range(3)]
    async with harness.running(sink, concurrency=1):
        await sink.attempts(1)
        await harness.until(f"{events[0]}-chat", lambda row: row.last_error is not None)
        harness.later(2 * HOUR)
        await sink.attempts(2)
        row = await harness.until(f"{events[2]}-chat", lambda row: row.deadline_at > START + 2 * HOUR)
        assert row.deadline_at == harness.clock() + HOUR
        sink.script.extend([Sent(), RetryLater("throttled", HOUR / 2 - 60)])
        sink.otherwise = Sent()
        harness.later(30)
        row = await harness.until(f"{events[0]}-chat", lambda row: row.attempts == 1)
        assert row.state is DeliveryState.PENDING
        harness.later(HOUR / 2 - 60)
        for event in events:
            await harness.until(f"{event}-chat", lambda row: row.state is DeliveryState.SENT)


@pytest.mark.parametrize("trouble", [RetryLater("busy"), Unclear("lost")])
async def test_a_probe_that_says_nothing_keeps_the_sink_blocked(
    harness: DispatcherHarness, trouble: SendOutcome
) -> None:
    """Only a judged message ends the block; after another error the next probe waits its time."""
    sink = Scripted("chat", Blocked("token revoked"), trouble)
    events = [await harness.tell("chat") for _ in range(3)]
    async with harness.running(sink, concurrency=1) as running:
        await harness.until(f"{events[0]}-chat", lambda row: row.last_error is not None)
        harness.later(30)
        await sink.attempts(2)
        await asyncio.sleep(0.05)
        assert len(sink.got) == 2
        assert running.blocked == {"chat": "token revoked"}
        harness.later(30)
        await sink.attempts(5)


async def test_a_refused_message_ends_the_block(harness: DispatcherHarness) -> None:
    """A receiver that rejects one message for its content accepts the others."""
    sink = Scripted("chat", Blocked("token revoked"), Rejected("too large"))
    events = [await harness.tell("chat") for _ in range(3)]
    async with harness.running(sink, concurrency=1):
        await harness.until(f"{events[0]}-chat", lambda row: row.last_error is not None)
        harness.later(30)
        await harness.until(f"{events[2]}-chat", lambda row: row.state is DeliveryState.SENT)


async def test_a_blocked_sink_with_nothing_to_send_does_not_spin(harness: DispatcherHarness) -> None:
    """If the probe's delivery is not available, the store is called sometimes, not all the time."""
    claims = 0
    sink = Scripted("chat", Blocked("token revoked"))
    event = await harness.tell("chat")

    class Counting(Faulty):
        async def claim(self, *args: Any, **named: Any) -> Any:
            nonlocal claims
            claims += 1
            return await harness.store.outbox.claim(*args, **named)

    async with harness.running(sink, outbox=Counting(harness.store.outbox, "", 0)):
        await harness.until(f"{event}-chat", lambda row: row.last_error is not None)
        harness.clock.now += 30
        await harness.store.outbox.claim("chat", owner="there", limit=1, lease=1000)
        before = claims
        assert harness.dispatcher
        harness.dispatcher.wake()
        await asyncio.sleep(0.2)
        assert claims - before <= 3


async def test_a_hanging_sink_delays_no_other(harness: DispatcherHarness) -> None:
    """Each sink has its own worker."""
    slow, quick = Scripted("slow", otherwise=hang), Scripted("quick")
    await harness.tell("slow", "quick")
    async with harness.running(slow, quick, timeout=30.0, concurrency=1):
        await slow.attempts(1)
        for number in range(2, 5):
            await harness.tell("slow", "quick")
            assert harness.dispatcher
            harness.dispatcher.wake()
            await quick.attempts(number)
        assert len(slow.got) == 1


async def test_a_delivery_is_sent_when_it_is_due(
    harness: DispatcherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker needs no wake for a delivery that it knows to become due."""
    sink = Scripted("chat")
    await harness.tell("chat", due_at=START + 0.1)
    async with harness.running(sink):
        await asyncio.sleep(0.05)
        assert not sink.got
        harness.clock.now += 0.1
        await sink.attempts(1)


async def test_what_others_make_due_is_found(
    harness: DispatcherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry from the command line, in another process, wakes no worker and is found all the same."""
    monkeypatch.setattr(worker, "IDLE_CHECK_EVERY", 0.05)
    sink = Scripted("chat")
    async with harness.running(sink):
        await asyncio.sleep(0.02)
        await harness.tell("chat")
        await sink.attempts(1)


async def test_the_fallback_takes_over_what_is_dead(harness: DispatcherHarness) -> None:
    """A dead delivery goes out at once through the fallback, as the same route showed it."""
    chat, mail = Scripted("chat", Rejected("never")), Scripted("mail")
    event = await harness.tell("chat", shown=(1,))
    async with harness.running(chat, mail, fallback="mail"):
        await mail.attempts(1)
        row = await harness.until(f"{event}-mail-for-chat", lambda row: row.state is DeliveryState.SENT)
    assert (await harness.delivery(f"{event}-chat")).state is DeliveryState.DEAD
    assert mail.got[0].event.failures == chat.got[0].event.failures
    assert row.deadline_at == START + RetryPolicy().deadline


async def test_a_fallback_that_was_notified_anyway_is_not_notified_twice(harness: DispatcherHarness) -> None:
    """If routes lead an event to the fallback too, one message is enough."""
    chat, mail = Scripted("chat", Rejected("never")), Scripted("mail")
    event = await harness.tell("chat", "mail")
    async with harness.running(chat, mail, fallback="mail"):
        await harness.until(f"{event}-chat", lambda row: row.state is DeliveryState.DEAD)
        await harness.until(f"{event}-mail", lambda row: row.state is DeliveryState.SENT)
    assert len(mail.got) == 1


async def test_only_what_the_route_shows_is_shown(harness: DispatcherHarness) -> None:
    """A copy holds the failures of its route and the number of the others; the stored event is complete."""
    sink = Scripted("chat")
    whole = sample(EventType.JOB_FAILED)
    await harness.tell("chat", shown=(1,))
    await harness.tell("chat")
    async with harness.running(sink, concurrency=1):
        await sink.attempts(2)
    some, every = (message.event for message in sink.got)
    assert some.failures == whole.failures[1:2]
    assert some.failures_outside_route == len(whole.failures) - 1
    assert (every.failures, every.failures_outside_route) == (whole.failures, 0)


async def test_only_recoveries_of_notified_failures_are_shown(harness: DispatcherHarness) -> None:
    """The indices of a recovery's delivery are those of recoveries."""
    sink = Scripted("chat")
    whole = sample(EventType.APPLIANCE_RECOVERED)
    last = len(whole.recoveries) - 1
    await harness.tell("chat", shown=(last,), event=EventType.APPLIANCE_RECOVERED)
    async with harness.running(sink):
        await sink.attempts(1)
    assert sink.got[0].event.recoveries == whole.recoveries[last:]
    assert sink.got[0].event.failures_outside_route == 0


async def test_the_link_is_signed_for_this_event(harness: DispatcherHarness) -> None:
    """Each message carries the address that ``sign_link`` returns for its event, or none."""
    linked, plain = Scripted("chat"), Scripted("chat")
    event = await harness.tell("chat")
    async with harness.running(linked, sign=lambda event: f"https://bridge.example.net/{event.id}"):
        await linked.attempts(1)
    await harness.tell("chat")
    async with harness.running(plain):
        await plain.attempts(1)
    assert linked.got[0].event.url == f"https://bridge.example.net/{event}"
    assert plain.got[0].event.url is None


async def test_stop_finishes_what_is_in_flight_and_leaves_the_rest(harness: DispatcherHarness) -> None:
    """Within the grace a send ends and is recorded; nothing new starts."""
    go = asyncio.Event()

    async def slow(_message: Message, _record: PartRecorder) -> SendOutcome:
        await go.wait()
        return Sent("in time")

    sink = Scripted("chat", otherwise=slow)
    first, second = await harness.tell("chat"), await harness.tell("chat")
    async with harness.running(sink, concurrency=1, timeout=20.0) as running:
        await sink.attempts(1)
        stopping = asyncio.create_task(running.stop(10))
        await asyncio.sleep(0.02)
        go.set()
        await stopping
    assert (await harness.delivery(f"{first}-chat")).receipt == "in time"
    left = await harness.delivery(f"{second}-chat")
    assert (left.state, left.attempts, left.unclear, left.leased_until) == (
        DeliveryState.PENDING,
        0,
        False,
        None,
    )
    assert len(sink.got) == 1


async def test_a_send_that_is_cut_short_comes_back_unclear(harness: DispatcherHarness) -> None:
    """After the grace a send is cancelled, and its delivery comes back under the same key, marked unclear."""
    event = await harness.tell("chat")
    sink = Scripted("chat", hang)
    async with harness.running(sink, timeout=20.0) as running:
        await sink.attempts(1)
        started = asyncio.get_running_loop().time()
        await running.stop(0.1)
        assert asyncio.get_running_loop().time() - started < 2
    harness.clock.now += 100
    again = Scripted("chat")
    async with harness.running(again):
        await again.attempts(1)
    assert (again.got[0].key, again.got[0].unclear, again.got[0].attempt) == (f"{event}-chat", True, 1)


async def test_a_sink_that_swallows_its_cancellation_holds_no_stop_up(harness: DispatcherHarness) -> None:
    """The stop ends within the grace also if a third-party sink ignores its cancellation."""
    go = asyncio.Event()

    async def stubborn(_message: Message, _record: PartRecorder) -> SendOutcome:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        return Sent()

    sink = Scripted("chat", stubborn)
    await harness.tell("chat")
    async with harness.running(sink, timeout=20.0) as running:
        await sink.attempts(1)
        async with asyncio.timeout(3):
            await running.stop(0.1)
        go.set()
        await asyncio.gather(*(task for each in running._workers.values() for task in each.in_flight))
