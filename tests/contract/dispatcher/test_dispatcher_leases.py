"""Test leases while sends run, outages of the store, and recoveries at the fallback."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Rejected, RetryLater, SendOutcome, Sent
from cmc_notify.dispatcher import worker
from cmc_notify.ports import Claim, Delivery, Message, PartRecorder
from support.dispatcher_harness import (
    HOUR,
    SENT,
    DispatcherHarness,
    Faulty,
    Scripted,
    hang,
)
from support.dispatcher_held import LOST, Held, dead, sent, tried

pytestmark = pytest.mark.usefixtures("brisk")


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
