"""Silences as people add, end and list them: command line, HTTP API, chat."""

from collections.abc import Sequence
from typing import Protocol

from cmc_notify.core.silences import Silence


class Silences(Protocol):
    """What was asked for. Counts from each controller's next poll on, in every replica.

    Every method raises StoreUnavailable. ``now`` is the caller's clock, in Unix seconds.
    """

    async def add(self, silence: Silence) -> None:
        """Keep it as it is: ``core.silences.problems`` is asked before."""
        ...

    async def expire(self, silence_id: str, *, now: float) -> bool:
        """End it at ``now``; False where there is no such silence, or it has ended already."""
        ...

    async def list_silences(self, *, now: float, expired: bool = False) -> Sequence[Silence]:
        """Those that act now or will, the earliest to end first; with ``expired`` also those that ended,
        until retention forgets them.
        """
        ...

    async def active(self, *, now: float, controller: str | None = None) -> Sequence[Silence]:
        """Those that act now, and could concern the controller."""
        ...
