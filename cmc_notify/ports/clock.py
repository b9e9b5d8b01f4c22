"""What time it is."""

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time; tests put their own in its place."""

    def __call__(self) -> float:
        """Now, in Unix seconds."""
        ...
