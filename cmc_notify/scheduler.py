"""When things happen: polls of each controller, housekeeping. APScheduler keeps the time.

A controller's next poll is fixed when the last one has ended, so two never overlap; it comes sooner while
jobs are open. A little jitter keeps many controllers, and many bridges, from asking in step. Nothing that
is scheduled stops for good because it failed once.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from cmc_notify.poller import Poller
from cmc_notify.settings.controller import PollSettings

_log = structlog.get_logger(__name__)

JITTER = 0.1
"""A poll comes up to this part of its interval early."""


class Scheduler:
    """Runs polls and chores until it is stopped; then it can't be started again."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._running: set[asyncio.Task[None]] = set()
        self._stopped = False

    def poll(self, poller: Poller, settings: PollSettings) -> None:
        """Poll from now on, as often as ``settings`` says."""

        async def once() -> float:
            result = await poller.poll()
            wait = settings.interval if result.busy or not result.ok else settings.idle_interval
            return wait * (1 - JITTER * random.random())  # noqa: S311  spreads polls, guards nothing

        self._repeat(f"poll:{poller.name}", once, otherwise=settings.interval)

    def every(
        self, seconds: float, chore: Callable[[], Awaitable[None]], name: str, *, first: float = 0.0
    ) -> None:
        """Run a chore after ``first`` seconds, and then each time ``seconds`` after its end."""

        async def once() -> float:
            await chore()
            return seconds

        self._repeat(name, once, otherwise=seconds, first=first)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    async def stop(self) -> None:
        """Start nothing more, and cancel what runs: a poll before its commit never happened."""
        if self._stopped:
            return
        self._stopped = True
        if self._scheduler.running:
            self._scheduler.pause()
            await asyncio.sleep(0)  # what it has just begun ends by itself; cancelled, it would log an error
            self._scheduler.shutdown(wait=False)
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _repeat(
        self, name: str, once: Callable[[], Awaitable[float]], *, otherwise: float, first: float = 0.0
    ) -> None:
        """Run ``once`` again after the seconds that it returns, or ``otherwise`` where it fails."""

        async def run() -> None:
            wait = otherwise
            try:
                wait = await once()
            except (Exception, asyncio.CancelledError):
                if self._stopped:
                    raise
                _log.exception("schedule.bug", task=name)
            self._at(begin, wait, name)

        async def begin() -> None:
            # A task of our own: APScheduler reports each one that it cancels at its end as an error.
            if not self._stopped:
                task = asyncio.create_task(run(), name=name)
                self._running.add(task)
                task.add_done_callback(self._running.discard)

        self._at(begin, first, name)

    def _at(self, call: Callable[[], Awaitable[None]], seconds: float, name: str) -> None:
        self._scheduler.add_job(
            call,
            "date",
            run_date=datetime.now(UTC) + timedelta(seconds=seconds),
            id=name,
            replace_existing=True,
            misfire_grace_time=None,
        )
