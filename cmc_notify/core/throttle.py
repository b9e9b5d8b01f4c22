"""Limits on how often something may happen: wrong tokens from one address, lines in the log."""

from collections import OrderedDict

from msgspec import Struct

WRONG_TOKENS = 10
"""Wrong tokens of one address in a row."""
ONE_MORE_EVERY = 6.0
"""Seconds until one more is allowed."""
MAX_ADDRESSES = 10_000
"""Addresses that are remembered; beyond that the one that tried least recently is forgotten."""


class Throttle:
    """Counts by address; ``wait`` is how long one has to wait. Times are seconds of any steady clock."""

    def __init__(self, burst: int = WRONG_TOKENS, every: float = ONE_MORE_EVERY) -> None:
        self._burst = burst
        self._every = every
        self._free_at: OrderedDict[str, float] = OrderedDict()
        """By address, when all that it did is forgotten."""

    def wait(self, address: str, now: float) -> float:
        """Return the seconds until the address may try again; 0 if it may now."""
        free_at = self._free_at.get(address, now)
        return max(0.0, free_at - now - (self._burst - 1) * self._every)

    def count(self, address: str, now: float) -> None:
        """Count one try."""
        free_at = max(self._free_at.pop(address, now), now)
        self._free_at[address] = min(free_at + self._every, now + self._burst * self._every)
        while len(self._free_at) > MAX_ADDRESSES:
            self._free_at.popitem(last=False)


class Admitted(Struct, frozen=True):
    """One thing that is worth a line, and how many before it were not."""

    left_out: int


class LineLimit:
    """Lets ``most`` lines through in each ``period`` of seconds, and counts the others."""

    def __init__(self, most: int = 10, period: float = 60.0) -> None:
        self._most = most
        self._period = period
        self._began = float("-inf")
        self._written = 0
        self._left_out = 0

    def admit(self, now: float) -> Admitted | None:
        """Return None for a line to leave out."""
        if now - self._began >= self._period:
            self._began, self._written = now, 0
        if self._written >= self._most:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return Admitted(left_out)
