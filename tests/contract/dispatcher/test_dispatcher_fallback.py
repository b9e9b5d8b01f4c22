"""Test the fallback, what a route shows, links, and the stop."""

import asyncio

import pytest

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Rejected, SendOutcome, Sent
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message, PartRecorder
from support.dispatcher_harness import (
    START,
    DispatcherHarness,
    Scripted,
    hang,
)

pytestmark = pytest.mark.usefixtures("brisk")


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
    async with harness.running(
        linked, sign=lambda event, _delivery: f"https://bridge.example.net/{event.id}"
    ):
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
