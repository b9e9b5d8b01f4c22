"""The times of polls and housekeeping, by APScheduler.

The next poll of a controller is planned when the last one has ended, so two never overlap. It comes at once
when a lead begins, and sooner while jobs are open. A little jitter keeps many controllers, and many bridges,
from polling in step. No task stops for ever because it failed once, nor for long because the machine's clock
was set back.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from cmc_notify.poller import Poller
from cmc_notify.ports import Fence
from cmc_notify.settings.controller import PollSettings

_log = structlog.get_logger(__name__)

JITTER = 0.1
"""A poll comes up to this part of its interval early."""
CLOCK_CHECK_EVERY = 5.0
"""Seconds between two checks if the machine's clock was set back."""
CLOCK_STEP = 1.0
"""Seconds from which a step back counts."""


class _Task:
    """A repeated task, one run at a time, until it is ended."""

    def __init__(self, once: Callable[[], Awaitable[float]], retry_after: float) -> None:
        self.once = once
        self.retry_after = retry_after
        self.run: asyncio.Task[None] | None = None
        self.ended = False

    async def wait_for_end(self) -> None:
        """Wait for the end of a running run, whatever its result."""
        if self.run:
            await asyncio.wait([self.run])


class _PolledController(NamedTuple):
    poller: Poller
    settings: PollSettings


class Scheduler:
    """Runs polls and tasks until it is stopped; then it can't be started again.

    A controller is polled only while this replica leads it. Implements ``leadership.LeadHandler``.
    """

    def __init__(self, on_hung: Callable[[str], None] = lambda _controller: None) -> None:
        """``on_hung`` is called after the watchdog ended a poll, with the controller's name."""
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._on_hung = on_hung
        self._controllers: dict[str, _PolledController] = {}
        self._tasks: dict[str, _Task] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._stopped = False

    def poll(self, poller: Poller, settings: PollSettings) -> None:
        """Add a poller; it polls while this replica leads, as often as ``settings`` says."""
        self._controllers[poller.name] = _PolledController(poller, settings)

    def start_polling(self, controller: str, fence: Fence | None) -> None:
        """Poll the controller from now on, under this fence if there is one."""
        poller, settings = self._controllers[controller]
        previous = self._end(controller)

        async def once() -> float:
            if previous:
                await previous.wait_for_end()
            result = await poller.poll(fence)
            if result.hung:
                self._on_hung(controller)
            wait = settings.interval if result.busy or not result.ok else settings.idle_interval
            return wait * (1 - JITTER * random.random())  # noqa: S311  spreads polls, guards nothing

        self._repeat(_job(controller), once, retry_after=settings.interval)

    def cancel_polling(self, controller: str) -> None:
        """Stop at once: a poll before its commit never happened, and another replica may poll already."""
        polls = self._end(controller)
        if polls and polls.run:
            polls.run.cancel()
        if controller in self._controllers:
            self._controllers[controller].poller.forget()

    async def finish_polling(self, controller: str) -> None:
        """Start no other poll, and wait for the end of a running one."""
        polls = self._end(controller)
        if polls is None:
            return
        await polls.wait_for_end()
        if self._tasks[_job(controller)] is polls:
            self._controllers[controller].poller.forget()

    def every(
        self, seconds: float, task: Callable[[], Awaitable[None]], name: str, *, first: float = 0.0
    ) -> None:
        """Run a task after ``first`` seconds, and then each time ``seconds`` after its end."""

        async def once() -> float:
            await task()
            return seconds

        self._repeat(name, once, retry_after=seconds, first=first)

    def start(self) -> None:
        """Start the scheduler."""
        self._scheduler.start()
        clock = asyncio.create_task(self._watch_clock(), name="clock")
        self._running.add(clock)
        clock.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Start nothing more, and cancel running tasks: a poll before its commit never happened."""
        if self._stopped:
            return
        self._stopped = True
        if self._scheduler.running:
            self._scheduler.pause()
            await asyncio.sleep(0)  # a job just started ends on its own; if cancelled, it would log an error
            self._scheduler.shutdown(wait=False)
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _watch_clock(self) -> None:
        """Move all plans when the machine's clock was set back, because APScheduler plans by that clock.

        Set back by hours, it would run nothing for hours. A clock set forward only makes tasks run early.
        """
        loop = asyncio.get_running_loop()
        ahead = time.time() - loop.time()
        while True:
            await asyncio.sleep(CLOCK_CHECK_EVERY)
            stepped = time.time() - loop.time() - ahead
            if stepped > 0:
                ahead += stepped
            elif stepped < -CLOCK_STEP:
                ahead += stepped
                _log.warning("clock.set_back", seconds=round(-stepped, 1))
                for job in self._scheduler.get_jobs():
                    job.modify(next_run_time=job.next_run_time + timedelta(seconds=stepped))

    def _end(self, controller: str) -> _Task | None:
        """Start no other poll; returns the task that may still run."""
        polls = self._tasks.get(_job(controller))
        if polls:
            polls.ended = True
            with suppress(JobLookupError):
                self._scheduler.remove_job(_job(controller))
        return polls

    def _repeat(
        self, name: str, once: Callable[[], Awaitable[float]], *, retry_after: float, first: float = 0.0
    ) -> None:
        """Run ``once`` again after the seconds that it returns, or after ``retry_after`` if it fails."""
        if not self._stopped:
            self._tasks[name] = _Task(once, retry_after)
            self._at(name, self._tasks[name], first)

    def _at(self, name: str, task: _Task, seconds: float) -> None:
        async def begin() -> None:
            # A task of our own: at its end APScheduler reports each task that it cancels as an error.
            if not self._stopped and not task.ended:
                task.run = asyncio.create_task(self._run(name, task), name=name)
                self._running.add(task.run)
                task.run.add_done_callback(self._running.discard)

        self._scheduler.add_job(
            begin,
            "date",
            run_date=datetime.now(UTC) + timedelta(seconds=seconds),
            id=name,
            replace_existing=True,
            misfire_grace_time=None,
        )

    async def _run(self, name: str, task: _Task) -> None:
        wait = task.retry_after
        try:
            wait = await task.once()
        except (Exception, asyncio.CancelledError) as error:
            if self._stopped or (task.ended and isinstance(error, asyncio.CancelledError)):
                raise
            _log.exception("schedule.bug", task=name)
        if not self._stopped and not task.ended:
            self._at(name, task, wait)


def _job(controller: str) -> str:
    return f"poll:{controller}"
