"""What only the running process knows, beside what the store holds."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class LiveController(Struct, frozen=True, kw_only=True):
    """A configured controller, as this process sees it."""

    name: str
    tried: bool
    """Whether its first poll came to an end, good or bad, since this process started."""
    polling: bool = False
    """Whether this process polls it; where several share the store, another may."""
    leader: str | None = None
    """The replica that polls it, as of a moment ago; None while none does, and where there is one bridge."""
    next_poll_at: float | None = None
    """Unix seconds; None while none is planned."""


class LiveSink(Struct, frozen=True, kw_only=True):
    """A configured sink, as this process sees it."""

    name: str
    type: str
    blocked: str | None = None
    """Why its queue is held until an operator acts; None while it is not. Holds no secret."""
    resting: str | None = None
    """Why it is spared for a while, after failures or at its own wish; None while it is not."""


class StatusSource(Protocol):
    """Answers at once, without I/O."""

    @property
    def stopping(self) -> bool:
        """Whether the bridge is on its way out; it is not ready then."""
        ...

    def controllers(self) -> Sequence[LiveController]:
        """Every configured controller, in the order of the config."""
        ...

    def sinks(self) -> Sequence[LiveSink]:
        """Every configured sink, in the order of the config."""
        ...
