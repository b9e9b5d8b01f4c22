"""When things happen: polls of each controller, housekeeping. APScheduler keeps the time.

A controller's next poll is fixed when the last one has ended, so two never overlap; it comes sooner while
jobs are open. A little jitter keeps many controllers, and many bridges, from asking in step.
"""

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
    """Runs polls and chores until it is stopped."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC)

    def poll(self, poller: Poller, settings: PollSettings) -> None:
        """Poll from now on, as often as ``settings`` says."""

        async def once() -> None:
            wait = settings.interval
            try:
                result = await poller.poll()
                wait = settings.interval if result.busy or not result.ok else settings.idle_interval
            except Exception:  # noqa: BLE001  logged, and the next poll goes on
                _log.exception("poll.bug", controller=poller.name)
            finally:
                self._at(once, wait * (1 - JITTER * random.random()), f"poll:{poller.name}")  # noqa: S311

        self._at(once, 0.0, f"poll:{poller.name}")

    def every(self, seconds: float, chore: Callable[[], Awaitable[None]], name: str) -> None:
        """Run a chore at fixed intervals, one at a time."""
        self._scheduler.add_job(chore, "interval", seconds=seconds, id=name, max_instances=1, coalesce=True)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """Start nothing more; what runs is left to its task."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _at(self, call: Callable[[], Awaitable[None]], seconds: float, name: str) -> None:
        self._scheduler.add_job(
            call,
            "date",
            run_date=datetime.now(UTC) + timedelta(seconds=seconds),
            id=name,
            replace_existing=True,
            misfire_grace_time=None,
        )
