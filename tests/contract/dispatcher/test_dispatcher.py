"""The dispatcher with a real SQLite store and sinks that follow a script."""

import asyncio
from typing import Any

import pytest

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message, PartRecorder
from support.dispatcher_harness import (
    START,
    Act,
    DispatcherHarness,
    Faulty,
    Scripted,
    hang,
)

pytestmark = pytest.mark.usefixtures("brisk")


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
