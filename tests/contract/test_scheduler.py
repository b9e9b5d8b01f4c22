"""The scheduler with the real APScheduler and pollers that answer as a script says."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from cmc_notify import scheduler as module
from cmc_notify.poller import Poller
from cmc_notify.poller.poller import PollResult
from cmc_notify.scheduler import Scheduler
from cmc_notify.settings.controller import PollSettings

BUSY, IDLE = PollResult(ok=True, busy=True), PollResult(ok=True, busy=False)
FAILED = PollResult(ok=False, busy=False)


class Scripted:
    """Stands where a poller does; notes when it was asked, and how many at once."""

    def __init__(self, *script: PollResult | BaseException, otherwise: PollResult = IDLE) -> None:
        self.name = "emea"
        self.script = deque(script)
        self.otherwise = otherwise
        self.times: list[float] = []
        self.running = 0
        self.most = 0
        self.lasts: asyncio.Event | None = None
        self.changed = asyncio.Condition()

    async def poll(self) -> PollResult:
        """One poll."""
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
    scheduler.start()


@pytest.mark.parametrize("soon", [BUSY, FAILED])
async def test_it_asks_again_soon_while_jobs_are_open_or_a_poll_failed(
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
    """The next poll is not begun before the last one has ended, however long that takes."""
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
    """Whatever comes out of a poll, the next one comes after ``interval``."""
    poller = Scripted(error)
    begin(scheduler, poller, interval="20ms", idle_interval="20ms")
    await poller.polls(3)


async def test_a_slow_controller_delays_no_other(scheduler: Scheduler) -> None:
    """Each controller is polled by itself."""
    slow, quick = Scripted(), Scripted(otherwise=BUSY)
    slow.name, slow.lasts = "slow", asyncio.Event()
    scheduler.poll(cast("Poller", slow), PollSettings())
    begin(scheduler, quick, interval="10ms")
    await slow.polls(1)
    await quick.polls(4)
    assert len(slow.times) == 1


async def test_stop_ends_a_poll_that_runs_and_begins_no_other(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    """After stop nothing of the poll runs any more, and nobody reports an error of it."""
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
    """A poll that is due in the very turn of the loop in which all ends is neither begun nor reported."""
    poller = Scripted()
    ending = asyncio.create_task(scheduler.stop())
    begin(scheduler, poller)
    await ending
    for _ in range(5):
        await asyncio.sleep(0)  # the report of an error would come a little later
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert not poller.times


async def test_a_scheduler_that_was_never_started_can_be_stopped(scheduler: Scheduler) -> None:
    """A start that failed half-way ends without another error."""
    poller = Scripted()
    scheduler.poll(cast("Poller", poller), PollSettings())
    await scheduler.stop()
    assert not poller.times


async def test_a_chore_comes_again_also_after_it_failed(scheduler: Scheduler) -> None:
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


async def test_polls_do_not_go_in_step(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance takes up to a tenth off each interval."""
    monkeypatch.setattr(module.random, "random", lambda: 1.0)
    waits: list[float] = []
    monkeypatch.setattr(scheduler, "_at", lambda _call, seconds, _name: waits.append(seconds))
    scheduler.poll(cast("Poller", Scripted(BUSY)), PollSettings())
    assert waits == [0.0]
