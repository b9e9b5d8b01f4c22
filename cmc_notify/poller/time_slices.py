"""Split long work on the event loop into slices: other tasks wait for one slice at most."""

import asyncio
from time import perf_counter

SLICE = 0.02
"""Seconds of work after which other tasks run."""


class TimeSlices:
    """Counts the time of one piece of work. Call ``yield_if_due`` after each small step."""

    def __init__(self) -> None:
        self._since = perf_counter()

    async def yield_if_due(self) -> None:
        """Let other tasks run, if this slice has lasted long enough."""
        if perf_counter() - self._since >= SLICE:
            await asyncio.sleep(0)
            self._since = perf_counter()
