"""The queue of a sink that is slow, limited, dead or gone, with a real SQLite store."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from cmc_notify.core.circuit import FAILURES_TO_OPEN
from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message, PartRecorder
from support.dispatcher_harness import (
    HOUR,
    DispatcherHarness,
    Faulty,
    Scripted,
    hang,
)
from support.dispatcher_held import LOST, Held, dead, sent, tried

pytestmark = pytest.mark.usefixtures("brisk")


def throttled(harness: DispatcherHarness, sink: str = "chat") -> float:
    """The metric."""
    return float(harness.metrics.sink_throttled.labels(sink)._value.get())


def circuit_open(harness: DispatcherHarness, sink: str = "chat") -> float:
    """The metric."""
    return float(harness.metrics.sink_circuit_open.labels(sink)._value.get())


class _Counting(Faulty):
    """Counts the calls of one method."""

    def __init__(self, outbox: Any, method: str) -> None:
        super().__init__(outbox, "", 0)
        self._method = method
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        """Count the call, and make it."""
        self.count += name == self._method
        return super().__getattr__(name)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110  the store sets no event
                await asyncio.sleep(0.005)


async def test_retry_after_throttles_the_whole_sink(harness: DispatcherHarness) -> None:
    """Nothing is sent before the time that the receiver named; then one more with each accepted message."""
    held = Held()
    sink = Scripted("chat", RetryLater("429", 20), otherwise=held)
    first = await harness.tell("chat")
    async with harness.running(sink, concurrency=3, timeout=20.0) as running:
        await harness.until(f"{first}-chat", tried)
        assert throttled(harness) == 1
        for _ in range(9):
            await harness.tell("chat")
        running.wake()
        harness.later(19.9)
        await asyncio.sleep(0.05)
        assert len(sink.got) == 1
        harness.later(0.1)
        begun = 1
        for at_once in (1, 2, 3, 3):
            begun += at_once
            await sink.attempts(begun)
            await asyncio.sleep(0.02)
            assert len(held.waiting) == at_once
            held.answer(Sent())
    assert sink.most == 3
    assert throttled(harness) == 0


async def test_a_sink_that_hangs_uses_one_place_and_goes_on_with_the_first_answer(
    harness: DispatcherHarness,
) -> None:
    """After several time-outs one message at a time is tried, ever more rarely; then all are sent."""
    sink = Scripted("chat", otherwise=hang)
    events = [await harness.tell("chat") for _ in range(9)]
    with capture_logs() as log:
        async with harness.running(sink, concurrency=4, timeout=0.1):
            # The first four hang at once, and so do the next four, of which one was one too many.
            await sink.attempts(8)
            await harness.until(f"{events[7]}-chat", tried)
            assert circuit_open(harness) == 1
            for tries in range(1, 4):
                sink.most = 0
                harness.later(60)
                await sink.attempts(8 + tries)
                await harness.until(sink.got[-1].key, lambda row: row.leased_until is None)
                assert (sink.most, len(sink.got)) == (1, 8 + tries)
            sink.otherwise = Sent()
            harness.later(120)
            for event in events:
                await harness.until(f"{event}-chat", sent)
    turns = [line["event"] for line in log if line["event"].startswith("sink.")]
    assert turns == ["sink.circuit_opened", "sink.circuit_closed"]
    assert circuit_open(harness) == 0


@pytest.mark.parametrize("trouble", [Blocked("HTTP 403"), RetryLater("HTTP 503", 30)])
async def test_messages_that_are_never_taken_do_not_use_up_every_try(
    harness: DispatcherHarness, trouble: SendOutcome
) -> None:
    """A receiver that throttles, or blocks, only some messages gets all the others."""
    events = [await harness.tell("chat", deadline_at=harness.clock() + 1e9) for _ in range(6)]
    never = {f"{event}-chat" for event in events[:2]}

    async def choosy(message: Message, _record: PartRecorder) -> SendOutcome:
        return trouble if message.key in never else Sent()

    sink = Scripted("chat", otherwise=choosy)
    async with harness.running(sink, concurrency=2):
        async with asyncio.timeout(10):
            while not {f"{event}-chat" for event in events[2:]} <= {message.key for message in sink.got}:
                await asyncio.sleep(0.01)
                harness.later(30.0)


async def test_a_clock_that_is_set_back_by_hours_holds_no_queue_up(harness: DispatcherHarness) -> None:
    """By the corrected clock messages are sent, however long the wait by the wrong clock was."""
    sink = Scripted("chat", RetryLater("429", 30))
    first = await harness.tell("chat")
    async with harness.running(sink):
        await harness.until(f"{first}-chat", tried)
        harness.clock.now -= 5 * HOUR
        second = await harness.tell("chat")
        harness.later(0)
        await harness.until(f"{second}-chat", sent)


async def test_what_a_sink_answers_with_odd_values_is_judged_all_the_same(harness: DispatcherHarness) -> None:
    """A receipt that is a number, and a wait that is not one, neither stop the sink nor repeat a message."""
    number: Any = 7
    word: Any = "30"
    odd: list[SendOutcome] = [Sent(number), RetryLater("later", word), RetryLater("later", float("nan"))]
    sink = Scripted("chat", *odd)
    events = [await harness.tell("chat") for _ in odd]
    async with harness.running(sink, concurrency=1):
        row = await harness.until(f"{events[0]}-chat", sent)
        assert row.receipt == "7"
        for event in events[1:]:
            row = await harness.until(f"{event}-chat", tried)
            assert row.due_at <= harness.clock() + 5
    assert len(sink.got) == len(odd)


async def test_messages_that_are_refused_one_by_one_open_nothing(harness: DispatcherHarness) -> None:
    """A receiver that judges every message works, even if it rejects them all."""
    sink = Scripted("chat", otherwise=Rejected("too large"))
    events = [await harness.tell("chat") for _ in range(3 * FAILURES_TO_OPEN)]
    async with harness.running(sink, concurrency=1):
        for event in events:
            await harness.until(f"{event}-chat", dead)
    assert (throttled(harness), circuit_open(harness)) == (0, 0)


@pytest.mark.parametrize("trouble", [LOST, RetryLater("429", after=HOUR)])
async def test_a_delivery_is_given_up_at_its_deadline_while_the_sink_waits(
    harness: DispatcherHarness, trouble: Unclear | RetryLater
) -> None:
    """It becomes a dead letter at its deadline, unsent and with the reason, and the fallback gets it."""
    chat, mail = Scripted("chat", otherwise=trouble), Scripted("mail")
    some = [await harness.tell("chat") for _ in range(FAILURES_TO_OPEN)]
    short = [await harness.tell("chat", deadline_at=harness.clock() + left) for left in (1, 1, 2)]
    async with harness.running(chat, mail, fallback="mail", concurrency=1):
        await harness.until(f"{some[0]}-chat", tried)
        if trouble is LOST:
            await chat.attempts(FAILURES_TO_OPEN)
            await harness.until(f"{some[-1]}-chat", tried)
        assert (throttled(harness), circuit_open(harness)) == ((0, 1) if trouble is LOST else (1, 0))
        before = len(chat.got)
        harness.later(0.9)
        await asyncio.sleep(0.05)
        assert not mail.got
        harness.later(0.1)
        for event in short[:2]:
            row = await harness.until(f"{event}-chat", dead)
            assert (row.attempts, row.unclear) == (0, False)
            assert row.last_error == f"gave up at the deadline, while waiting for the sink: {trouble.reason}"
            await harness.until(f"{event}-mail-for-chat", sent)
        assert (await harness.delivery(f"{short[2]}-chat")).state is DeliveryState.PENDING
        harness.clock.now += 1
        await harness.until(f"{short[2]}-chat", dead)  # by itself: nobody wakes the worker
        assert len(chat.got) == before


async def test_a_waiting_sink_reads_its_next_deadline_once(harness: DispatcherHarness) -> None:
    """However often it is woken: deliveries that come meanwhile have later deadlines."""
    asked = _Counting(harness.store.outbox, "next_deadline")
    sink = Scripted("chat", otherwise=RetryLater("429", after=HOUR))
    first = await harness.tell("chat", deadline_at=harness.clock() + 10)
    async with harness.running(sink, outbox=asked, concurrency=1) as running:
        await harness.until(f"{first}-chat", dead)  # it would have to wait beyond its deadline
        running.wake()
        await asked.until(lambda: asked.count >= 1)
        await harness.tell("chat", deadline_at=harness.clock() + 20)
        asked.count = 0
        for _ in range(20):
            running.wake()
            await asyncio.sleep(0.005)
        assert asked.count == 1
        harness.later(20)
        await asked.until(lambda: asked.count > 1)
