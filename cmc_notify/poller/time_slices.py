"""Long work on the event loop, in pieces: what else the bridge does waits for no more than one of them."""

import asyncio
from time import perf_counter

PIECE = 0.02
"""Seconds of work after which others get their turn."""


class TimeSlices:
    """Asked after each small step of the work whether it is time for a breath."""

    def __init__(self) -> None:
        self._since = perf_counter()

    async def breathe(self) -> None:
        """Let others run, if this piece has lasted long enough."""
        if perf_counter() - self._since >= PIECE:
            await asyncio.sleep(0)
            self._since = perf_counter()
