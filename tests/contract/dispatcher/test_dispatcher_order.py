"""Test concurrency, order, and sinks that are blocked or hang."""

import asyncio
from typing import Any

import pytest

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.dispatcher import worker
from cmc_notify.ports import Message, PartRecorder
from support.dispatcher_harness import (
    HOUR,
    START,
    DispatcherHarness,
    Faulty,
    Scripted,
    hang,
)

pytestmark = pytest.mark.usefixtures("brisk")


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
