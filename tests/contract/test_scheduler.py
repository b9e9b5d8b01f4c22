"""The scheduler with the real APScheduler and pollers that follow a script."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import time_machine

from cmc_notify import scheduler as module
from cmc_notify.poller import Poller
from cmc_notify.poller.poller import PollResult
from cmc_notify.ports import Fence
from cmc_notify.scheduler import Scheduler
from cmc_notify.settings.controller import PollSettings

BUSY, IDLE = PollResult(ok=True, busy=True), PollResult(ok=True, busy=False)
FAILED = PollResult(ok=False, busy=False)


class Scripted:
    """A stand-in for a poller; it notes its calls, and how many run at once."""

    def __init__(self, *script: PollResult | BaseException, otherwise: PollResult = IDLE) -> None:
        self.name = "emea"
        self.script = deque(script)
        self.otherwise = otherwise
        self.times: list[float] = []
        self.fences: list[Fence | None] = []
        self.forgot = 0
        self.running = 0
        self.most = 0
        self.lasts: asyncio.Event | None = None
        self.changed = asyncio.Condition()

    def forget(self) -> None:
        """Note it."""
        self.forgot += 1

    async def poll(self, fence: Fence | None = None) -> PollResult:
        """One poll."""
        self.fences.append(fence)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            async with self.changed:
                self.times.append(time.monotonic())
                self.changed.notify_all()
            if self.lasts:
                await self.lasts.wait()
            answer = self.script.popleft() if self.script else self.otherwise
            if isinstance(answer, BaseException):
                raise answer
            return answer
        finally:
            self.running -= 1

    async def polls(self, count: int) -> None:
        """Wait for the beginning of poll number ``count``."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.times) >= count)


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    """Not yet started."""
    made = Scheduler()
    yield made
    await made.stop()


def begin(scheduler: Scheduler, poller: Scripted, **settings: Any) -> None:
    """Poll from now on."""
    scheduler.poll(cast("Poller", poller), PollSettings(**settings))
    scheduler.start_polling(poller.name, None)
    scheduler.start()


@pytest.mark.parametrize("soon", [BUSY, FAILED])
async def test_it_polls_again_soon_while_jobs_are_open_or_a_poll_failed(
    scheduler: Scheduler, soon: PollResult
) -> None:
    """``interval`` holds then, and ``idle_interval`` otherwise; either at most a tenth early."""
    poller = Scripted(soon, soon)
    begin(scheduler, poller, interval="100ms", idle_interval="600ms")
    await poller.polls(4)
    gaps = [later - earlier for earlier, later in zip(poller.times, poller.times[1:], strict=False)]
    assert 0.09 <= gaps[0] < 0.5
    assert 0.09 <= gaps[1] < 0.5
    assert gaps[2] >= 0.54


async def test_two_polls_of_one_controller_never_overlap(scheduler: Scheduler) -> None:
    """The next poll does not start before the last one has ended, however long that takes."""
    poller = Scripted(otherwise=BUSY)
    poller.lasts = asyncio.Event()
    begin(scheduler, poller, interval="10ms", idle_interval="10ms")
    await poller.polls(1)
    await asyncio.sleep(0.1)
    assert len(poller.times) == 1
    poller.lasts.set()
    await poller.polls(5)
    assert poller.most == 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
async def test_a_poll_that_raises_does_not_end_the_polling(
    scheduler: Scheduler, error: BaseException
) -> None:
    """Whatever a poll raises, the next one comes after ``interval``."""
    poller = Scripted(error)
    begin(scheduler, poller, interval="20ms", idle_interval="20ms")
    await poller.polls(3)


async def test_a_slow_controller_delays_no_other(scheduler: Scheduler) -> None:
    """Each controller has its own polls."""
    slow, quick = Scripted(), Scripted(otherwise=BUSY)
    slow.name, slow.lasts = "slow", asyncio.Event()
    scheduler.poll(cast("Poller", slow), PollSettings())
    scheduler.start_polling("slow", None)
    begin(scheduler, quick, interval="10ms")
    await slow.polls(1)
    await quick.polls(4)
    assert len(slow.times) == 1


async def test_stop_ends_a_poll_that_runs_and_begins_no_other(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    """After stop no part of the poll runs any more, and no error of it is reported."""
    poller = Scripted()
    poller.lasts = asyncio.Event()
    begin(scheduler, poller, interval="10ms", idle_interval="10ms")
    await poller.polls(1)
    await scheduler.stop()
    assert poller.running == 0
    await scheduler.stop()
    await asyncio.sleep(0.05)
    assert len(poller.times) == 1
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_an_end_in_the_moment_of_a_beginning_is_no_error(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    """A poll that is due in the same turn of the loop as the stop is neither started nor reported."""
    poller = Scripted()
    ending = asyncio.create_task(scheduler.stop())
    begin(scheduler, poller)
    await ending
    for _ in range(5):
        await asyncio.sleep(0)  # the report of an error would come a little later
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert not poller.times


async def test_a_scheduler_that_was_never_started_can_be_stopped(scheduler: Scheduler) -> None:
    """A start that failed half-way stops without another error."""
    poller = Scripted()
    scheduler.poll(cast("Poller", poller), PollSettings())
    scheduler.start_polling("emea", None)
    await scheduler.stop()
    assert not poller.times


async def test_a_task_runs_again_also_after_it_failed(scheduler: Scheduler) -> None:
    """First after ``first`` seconds, then at its interval, whatever it raises."""
    ran: list[float] = []
    often = asyncio.Event()

    async def chore() -> None:
        ran.append(time.monotonic())
        if len(ran) == 3:
            often.set()
        raise ZeroDivisionError

    begun = time.monotonic()
    scheduler.every(0.02, chore, "chore", first=0.1)
    scheduler.start()
    async with asyncio.timeout(5):
        await often.wait()
    assert ran[0] - begun >= 0.1


async def test_a_clock_that_is_set_back_stops_no_polls(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll planned by the old clock comes as soon as planned."""
    monkeypatch.setattr(module, "CLOCK_CHECK_EVERY", 0.05)
    poller = Scripted(otherwise=BUSY)
    begin(scheduler, poller, interval=0.2, timeout=0.1)
    await poller.polls(1)
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=3), tick=True):
        await poller.polls(len(poller.times) + 3)
        await scheduler.stop()


async def test_polls_do_not_go_in_step(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance takes up to a tenth off each interval."""
    monkeypatch.setattr(module.random, "random", lambda: 1.0)
    waits: list[float] = []
    planned = asyncio.Event()
    at = scheduler._at

    def note(name: str, repeated: Any, seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            planned.set()
        at(name, repeated, seconds)

    monkeypatch.setattr(scheduler, "_at", note)
    poller = Scripted(BUSY)
    begin(scheduler, poller)
    await poller.polls(1)
    await planned.wait()
    assert waits == [0.0, pytest.approx(15 * 0.9)]


# --- leads ------------------------------------------------------------------------------------------------


def fence(token: int) -> Fence:
    """Of the one controller."""
    return Fence("poll:emea", token, "me")


async def test_without_a_lead_nothing_is_requested(scheduler: Scheduler) -> None:
    """A controller that is polled elsewhere gets no request from here."""
    standby, leader = Scripted(), Scripted(otherwise=BUSY)
    standby.name = "apac"
    scheduler.poll(cast("Poller", standby), PollSettings(interval="5ms"))
    begin(scheduler, leader, interval="5ms")
    await leader.polls(5)
    assert standby.times == []


async def test_a_lead_that_begins_polls_at_once_under_its_fence(scheduler: Scheduler) -> None:
    """Not after the idle interval, and each poll has the fence of that lead."""
    poller = Scripted()
    begin(scheduler, poller, idle_interval="1h")
    await poller.polls(1)
    scheduler.cancel_polling("emea")
    scheduler.start_polling("emea", fence(7))
    await poller.polls(2)
    assert poller.fences == [None, fence(7)]


async def test_a_lead_that_is_lost_ends_the_poll_that_runs(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    """The poll is cancelled without an error, the memory is cleared, and no other poll comes."""
    poller = Scripted(otherwise=BUSY)
    poller.lasts = asyncio.Event()
    begin(scheduler, poller, interval="5ms")
    await poller.polls(1)
    scheduler.cancel_polling("emea")
    async with asyncio.timeout(10):
        await scheduler._tasks["poll:emea"].wait_for_end()
    assert not poller.running
    poller.lasts.set()
    await asyncio.sleep(0.05)
    assert (len(poller.times), poller.forgot) == (1, 1)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_lead_that_is_lost_between_polls_ends_them(scheduler: Scheduler) -> None:
    """The poll that was planned does not come."""
    poller = Scripted(otherwise=BUSY)
    begin(scheduler, poller, interval="50ms")
    await poller.polls(1)
    await asyncio.sleep(0)
    scheduler.cancel_polling("emea")
    await asyncio.sleep(0.1)
    assert len(poller.times) == 1


async def test_a_lead_that_is_given_up_lets_the_poll_that_runs_end(scheduler: Scheduler) -> None:
    """``finish_polling`` returns after the poll; no other starts, and the memory is cleared."""
    poller = Scripted(otherwise=BUSY)
    poller.lasts = asyncio.Event()
    begin(scheduler, poller, interval="5ms")
    await poller.polls(1)
    finishing = asyncio.create_task(scheduler.finish_polling("emea"))
    await asyncio.sleep(0.02)
    assert (finishing.done(), poller.running) == (False, 1)
    poller.lasts.set()
    await finishing
    await asyncio.sleep(0.02)
    assert (len(poller.times), poller.running, poller.forgot) == (1, 0, 1)


async def test_a_lead_regained_waits_for_the_last_poll_of_the_lost_one(scheduler: Scheduler) -> None:
    """However long its end takes, two polls of a controller never overlap."""

    class Clinging(Scripted):
        async def poll(self, fence: Fence | None = None) -> PollResult:
            try:
                return await super().poll(fence)
            except asyncio.CancelledError:
                self.running += 1
                await asyncio.sleep(0.05)
                self.running -= 1
                raise

    poller = Clinging()
    poller.lasts = asyncio.Event()
    begin(scheduler, poller)
    await poller.polls(1)
    scheduler.cancel_polling("emea")
    poller.lasts.set()
    scheduler.start_polling("emea", fence(2))
    await poller.polls(2)
    assert poller.most == 1


async def test_what_is_not_polled_can_be_lost(scheduler: Scheduler) -> None:
    """A controller that left the config, or that it does not lead yet, causes no error."""
    scheduler.poll(cast("Poller", Scripted()), PollSettings())
    for name in ("emea", "gone"):
        scheduler.cancel_polling(name)
        await scheduler.finish_polling(name)


async def test_a_poll_that_hung_is_reported() -> None:
    """By the controller's name; other polls are not reported."""
    told: list[str] = []
    scheduler = Scheduler(told.append)
    poller = Scripted(BUSY, PollResult(ok=False, busy=True, hung=True), BUSY)
    begin(scheduler, poller, interval="5ms")
    await poller.polls(4)
    assert told == ["emea"]
    await scheduler.stop()
