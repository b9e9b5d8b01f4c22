"""The clock."""

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time; tests pass their own."""

    def __call__(self) -> float:
        """Return the time now, in Unix seconds."""
        ...
