"""The queue of a sink that is slow, limited, dead or gone, with a real SQLite store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cmc_notify.core.circuit import FAILURES_TO_OPEN
from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.dispatcher import worker
from cmc_notify.ports import Claim, Delivery, Message, PartRecorder
from support.dispatcher_harness import (
    HOUR,
    SENT,
    DispatcherHarness,
    Faulty,
    Scripted,
    empty_harness,
    hang,
    make_brisk,
)

LOST = Unclear("connection reset")


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[DispatcherHarness]:
    """An empty harness."""
    async with empty_harness(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits short."""
    make_brisk(monkeypatch)


def sent(row: Delivery) -> bool:
    """Return True if a delivery is sent."""
    return row.state is DeliveryState.SENT


def dead(row: Delivery) -> bool:
    """Return True if a delivery was given up."""
    return row.state is DeliveryState.DEAD


def tried(row: Delivery) -> bool:
    """Return True if the first attempt is recorded."""
    return row.attempts == 1


def throttled(harness: DispatcherHarness, sink: str = "chat") -> float:
    """The metric."""
    return float(harness.metrics.sink_throttled.labels(sink)._value.get())


def circuit_open(harness: DispatcherHarness, sink: str = "chat") -> float:
    """The metric."""
    return float(harness.metrics.sink_circuit_open.labels(sink)._value.get())


class Held:
    """A sink's ``send`` that returns on a call of ``answer``."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[SendOutcome]] = []

    async def __call__(self, _message: Message, _record: PartRecorder) -> SendOutcome:
        """Wait."""
        future: asyncio.Future[SendOutcome] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return await future

    def answer(self, outcome: SendOutcome) -> None:
        """Return this from every waiting send."""
        for future in self.waiting:
            future.set_result(outcome)
        self.waiting.clear()


class Slow(Faulty):
    """An outbox whose next claim returns only after ``go``."""

    def __init__(self, harness: DispatcherHarness) -> None:
        super().__init__(harness.store.outbox, "", 0)
        self.armed = False
        self.holding = asyncio.Event()
        self.go = asyncio.Event()

    async def claim(self, *args: Any, **named: Any) -> list[Claim]:
        """Claim from the store, and return late once."""
        claims: list[Claim] = await self._outbox.claim(*args, **named)
        if self.armed and claims:
            self.armed = False
            self.holding.set()
            await self.go.wait()
        return claims


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


async def test_what_is_given_up_keeps_its_lease_until_that_is_written(
    harness: DispatcherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store accepts no result, no other replica gets the deliveries that this one gives up."""
    monkeypatch.setattr(worker, "LEASE_MARGIN", 0.1)
    sink = Scripted("chat", otherwise=RetryLater("429", after=HOUR / 2))
    first = await harness.tell("chat")
    last = await harness.tell("chat", deadline_at=harness.clock() + 1)
    faulty = Faulty(harness.store.outbox, "record", 0)
    async with harness.running(sink, outbox=faulty, concurrency=1):
        await harness.until(f"{first}-chat", tried)
        faulty.failures = 1_000_000
        harness.later(1)
        row = await harness.until(f"{last}-chat", lambda row: row.leased_until is not None)
        leased = row.leased_until or 0.0
        harness.clock.now += 100
        await harness.until(f"{last}-chat", lambda row: (row.leased_until or 0.0) > leased + 50)
        faulty.failures = 0
        await harness.until(f"{last}-chat", dead)


@pytest.mark.parametrize("method", ["claim", "next_due"])
async def test_an_outage_of_the_store_is_logged_once_and_so_is_its_end(
    harness: DispatcherHarness, method: str
) -> None:
    """Not once for each failed call of the store."""
    sink = Scripted("chat")
    faulty = Faulty(harness.store.outbox, method, 20)
    with capture_logs() as log:
        async with harness.running(sink, outbox=faulty) as running:
            async with asyncio.timeout(5):
                while not any(line["event"] == "outbox.available" for line in log):  # noqa: ASYNC110  a list
                    await asyncio.sleep(0.01)
            event = await harness.tell("chat")
            running.wake()
            await harness.until(f"{event}-chat", sent)
    assert faulty.failures == 0
    turns = [line["event"] for line in log if line["event"].startswith("outbox.")]
    assert turns == ["outbox.unavailable", "outbox.available"]


async def test_order_holds_through_an_outage(harness: DispatcherHarness) -> None:
    """Of one ordering key, everything arrives once and in the order of its commits."""
    sink = Scripted("chat", otherwise=LOST)
    events = [await harness.tell("chat", ordering_key=f"job {number % 2}") for number in range(8)]
    async with harness.running(sink):
        for _ in range(6):
            before = len(sink.got)
            harness.later(120)
            await sink.attempts(before + 1)
            await harness.until(sink.got[-1].key, lambda row: row.leased_until is None)
        sink.otherwise = Sent()
        before = len(sink.got)
        harness.later(120)
        for event in events:
            await harness.until(f"{event}-chat", sent)
    arrived = [message.event.id for message in sink.got[before:]]
    assert sorted(arrived) == events
    for key in (0, 1):
        assert [one for one in arrived if one in events[key::2]] == events[key::2]


async def test_a_lease_is_renewed_while_its_send_runs(
    harness: DispatcherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long ago it was claimed, nobody else may take a delivery that is being sent."""
    monkeypatch.setattr(worker, "TIMEOUT_MARGIN", 20.0)
    monkeypatch.setattr(worker, "LEASE_MARGIN", -20.0)  # so that the lease is short, and the send is not
    held = Held()
    sink = Scripted("chat", held)

    def leased_beyond_now(row: Delivery) -> bool:
        return (row.leased_until or 0) > harness.clock.now

    event = await harness.tell("chat")
    async with harness.running(sink, timeout=0.15):
        await sink.attempts(1)
        for _ in range(3):
            harness.clock.now += 100
            await harness.until(f"{event}-chat", leased_beyond_now)
        held.answer(Sent("r"))
        await harness.until(f"{event}-chat", sent)
    assert len(sink.got) == 1


async def test_a_send_whose_delivery_was_taken_over_is_cut_off(
    harness: DispatcherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that was suspended too long stops sending, logs it once, and overwrites nothing."""
    monkeypatch.setattr(worker, "TIMEOUT_MARGIN", 20.0)
    monkeypatch.setattr(worker, "LEASE_MARGIN", -20.0)
    ended = asyncio.Event()

    async def until_cut(_message: Message, _record: PartRecorder) -> SendOutcome:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    sink = Scripted("chat", until_cut)
    event = await harness.tell("chat")
    with capture_logs() as log:
        async with harness.running(sink, timeout=0.15):
            await sink.attempts(1)
            taken: Any = ()
            while not taken:  # ours may renew between the time that passes and the other's claim
                harness.clock.now += 1000
                taken = await harness.store.outbox.claim("chat", owner="there", limit=1, lease=1e6)
            async with asyncio.timeout(5):
                await ended.wait()
    row = await harness.delivery(f"{event}-chat")
    assert (row.state, row.attempts) == (DeliveryState.PENDING, 0)
    assert row.leased_until == taken[0].delivery.leased_until
    assert [line["event"] for line in log if line["log_level"] == "warning"] == ["delivery.lease_lost"]


async def test_what_an_operator_wants_sent_anew_is_sent_though_the_old_one_hangs(
    harness: DispatcherHarness,
) -> None:
    """``retry --again`` during a send: the new message is sent, the old send is cancelled."""
    sink = Scripted("chat", hang)
    event = await harness.tell("chat")
    async with harness.running(sink, timeout=20.0) as running:
        await sink.attempts(1)
        await harness.store.ledger.retry([f"{event}-chat"], now=harness.clock(), again=True)
        running.wake()
        await sink.attempts(2)
        await harness.until(f"{event}-chat", sent)
        assert sink.now == 0
    old, new = (message.key for message in sink.got)
    assert old == f"{event}-chat" != new


async def test_what_a_claim_brings_after_the_end_is_given_back(harness: DispatcherHarness) -> None:
    """It is not sent, has no lease and no unclear mark: another takes it at once."""
    event = await harness.tell("chat")
    sink, slow = Scripted("chat"), Slow(harness)
    slow.armed = True
    async with harness.running(sink, outbox=slow) as running:
        await slow.holding.wait()
        stopping = asyncio.create_task(running.stop(5))
        await asyncio.sleep(0)
        slow.go.set()
        await stopping
    row = await harness.delivery(f"{event}-chat")
    assert not sink.got
    assert (row.leased_until, row.attempts, row.unclear, row.due_at) == (None, 0, False, row.created_at)


async def test_claims_that_come_after_throttling_are_given_back(
    harness: DispatcherHarness,
) -> None:
    """An outcome that came during a claim counts for the claimed deliveries."""
    held = Held()
    sink, slow = Scripted("chat", held), Slow(harness)
    await harness.tell("chat")
    async with harness.running(sink, outbox=slow, timeout=20.0) as running:
        await sink.attempts(1)
        slow.armed = True
        event = await harness.tell("chat")
        running.wake()
        await slow.holding.wait()
        held.answer(RetryLater("429", after=20))
        await harness.until(sink.got[0].key, tried)
        slow.go.set()
        row = await harness.until(f"{event}-chat", lambda row: row.leased_until is None)
        assert (row.attempts, row.unclear) == (0, False)
        assert len(sink.got) == 1
        harness.later(20)
        await harness.until(f"{event}-chat", sent)


async def _fail_then_recover(harness: DispatcherHarness, *told: str) -> tuple[str, str]:
    """A failure that waits for chat, and its recovery, with the pairs that the samples share."""
    failure = await harness.tell(*told)
    waits = (f"{failure}-chat",)
    return failure, await harness.tell("chat", event=EventType.APPLIANCE_RECOVERED, waits_for=waits)


async def test_a_recovery_follows_the_failure_to_the_fallback(harness: DispatcherHarness) -> None:
    """Where the failure went to the fallback, so does the recovery that the sink itself then takes: of what
    the fallback was told.
    """
    chat, mail = Scripted("chat", Rejected("too large")), Scripted("mail")
    failure, recovery = await _fail_then_recover(harness, "chat")
    async with harness.running(chat, mail, fallback="mail"):
        await harness.until(f"{failure}-chat", dead)
        await harness.until(f"{failure}-mail-for-chat", sent)
        harness.later(1)
        await mail.attempts(2)
        await harness.until(f"{recovery}-mail-for-chat", sent)
    assert [message.event.id for message in mail.got] == [failure, recovery]
    assert [one.serial for one in mail.got[1].event.recoveries] == ["V2AB0001", "V2AB0002"]
    assert len(chat.got[1].event.recoveries) == 3


async def test_a_recovery_goes_to_no_fallback_that_got_no_failure(harness: DispatcherHarness) -> None:
    """A message that the sink accepted concerns nobody else."""
    chat, mail = Scripted("chat"), Scripted("mail")
    _failure, recovery = await _fail_then_recover(harness, "chat")
    async with harness.running(chat, mail, fallback="mail"):
        await chat.attempts(1)
        harness.later(1)
        await harness.until(f"{recovery}-chat", sent)
    assert not mail.got
    assert await harness.store.ledger.delivery(f"{recovery}-mail-for-chat") is None


@pytest.mark.parametrize("second", [SENT, Rejected("too large")])
async def test_a_fallback_that_wants_no_recoveries_is_handed_none(
    harness: DispatcherHarness, second: SendOutcome
) -> None:
    """Both if the sink accepts its own message and if not."""
    chat, mail = Scripted("chat", Rejected("too large"), second), Scripted("mail")
    failure, recovery = await _fail_then_recover(harness, "chat")
    async with harness.running(chat, mail, fallback="mail", send_resolved=False):
        await harness.until(f"{failure}-chat", dead)
        await harness.until(f"{failure}-mail-for-chat", sent)
        harness.later(1)
        await harness.until(f"{recovery}-chat", lambda row: row.finished_at is not None)
    assert len(mail.got) == 1
    assert await harness.store.ledger.delivery(f"{recovery}-mail-for-chat") is None


async def test_an_interim_state_is_handed_to_no_fallback(harness: DispatcherHarness) -> None:
    """Rejected progress is not lost: the fallback is notified of the next state."""
    chat, mail = Scripted("chat", Rejected("too large")), Scripted("mail")
    event = await harness.tell("chat", event=EventType.JOB_PROGRESS)
    async with harness.running(chat, mail, fallback="mail"):
        await harness.until(f"{event}-chat", dead)
    assert await harness.store.ledger.delivery(f"{event}-mail-for-chat") is None
