"""The controller's own time: virtual Unix seconds, driven by a speed factor or by hand.

Changes run in the order of their times. Each one sees the clock at exactly its own time, even if the process
runs it late: the same scenario gives the same history at any speed.
"""

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count

Change = Callable[[], None]
"""An action on the controller at a certain time."""

START = 1_795_430_000
"""The default start of a simulation, in virtual Unix seconds (2026-11-23, early UTC)."""


class VirtualClock:
    """Virtual seconds; ``speed`` of them pass in a real one. Speed 0 moves only by :meth:`advance`."""

    def __init__(self, speed: float, start: float = START) -> None:
        if speed < 0:
            raise ValueError(f"speed is {speed}; it must be 0 (by hand) or greater")
        self.speed = speed
        self.start = float(start)
        self.idle = asyncio.Event()
        """Set while the clock runs and nothing more is planned."""
        self._base = float(start)
        self._since: float | None = None
        self._frozen: float | None = None
        self._planned: list[tuple[float, int, Change]] = []
        self._numbers = count()
        self._wake = asyncio.Event()
        self._running = False

    @property
    def now(self) -> float:
        """Return virtual Unix seconds; inside a change, its planned time."""
        if self._frozen is not None:
            return self._frozen
        if self._since is None:
            return self._base
        return self._base + (time.monotonic() - self._since) * self.speed

    def at(self, when: float, change: Change) -> None:
        """Plan a change for a virtual Unix second; one in the past happens at once."""
        heapq.heappush(self._planned, (max(when, self.now), next(self._numbers), change))
        self.idle.clear()
        self._wake.set()

    def run(self) -> None:
        """Start the clock."""
        self._running = True
        if self.speed:
            self._since = time.monotonic()
        self.catch_up()

    def advance(self, seconds: float) -> None:
        """Move the clock forward by virtual seconds and run the changes that become due."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._base += seconds
        self._wake.set()
        self.catch_up()

    def catch_up(self) -> None:
        """Run every change that is due. Does nothing before :meth:`run`, nor inside a change."""
        if not self._running or self._frozen is not None:
            return
        while self._planned and self._planned[0][0] <= self.now:
            when, _, change = heapq.heappop(self._planned)
            self._frozen = when
            try:
                change()
            finally:
                self._frozen = None
        if not self._planned:
            self.idle.set()

    async def play(self) -> None:
        """Run each change when its time comes, until cancelled. Raises whatever a change raises."""
        while True:
            self._wake.clear()
            self.catch_up()
            delay = (self._planned[0][0] - self.now) / self.speed if self._planned and self.speed else None
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue
