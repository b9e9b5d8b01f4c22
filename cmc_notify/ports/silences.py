"""The silences that people add, end and list: command line, HTTP API, chat."""

from collections.abc import Sequence
from typing import Protocol

from cmc_notify.core.silences import Silence


class Silences(Protocol):
    """The stored silences. A change applies from each controller's next poll on, in every replica.

    Every method raises StoreUnavailable. ``now`` is the caller's clock, in Unix seconds.
    """

    async def add(self, silence: Silence) -> None:
        """Store it as it is: the caller checks it before with ``core.silences.find_problems``."""
        ...

    async def expire(self, silence_id: str, *, now: float) -> bool:
        """End it at ``now``; returns False if there is no such silence, or it has ended already."""
        ...

    async def list_silences(self, *, now: float, expired: bool = False) -> Sequence[Silence]:
        """Return the silences that are active or will be, the earliest to end first.

        With ``expired`` also those that ended, until retention deletes them.
        """
        ...

    async def active(self, *, now: float, controller: str | None = None) -> Sequence[Silence]:
        """Return the active silences that may match the controller."""
        ...
