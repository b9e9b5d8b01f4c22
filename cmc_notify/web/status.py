"""The live state that only the running process knows, in addition to the store."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class LiveController(Struct, frozen=True, kw_only=True):
    """A configured controller, as this process sees it."""

    name: str
    tried: bool
    """True after its first poll ended, with success or not, since this process started."""
    polling: bool = False
    """True if this process polls it; if several share the store, another may be the leader."""
    leader: str | None = None
    """The replica that polls it, as last known; None if none does, and always with a single bridge."""
    next_poll_at: float | None = None
    """Unix seconds; None while none is planned."""


class LiveSink(Struct, frozen=True, kw_only=True):
    """A configured sink, as this process sees it."""

    name: str
    type: str
    blocked: str | None = None
    """The reason why nothing is sent until an operator acts; None if it is not blocked. Holds no secret."""
    circuit_open: str | None = None
    """The reason why its circuit is open or half-open; None if it is closed."""
    throttled: str | None = None
    """The reason why its receiver asked for a pause (Retry-After); None if it did not."""


class StatusSource(Protocol):
    """Returns its values at once, without I/O."""

    @property
    def stopping(self) -> bool:
        """True while the bridge stops; then it is not ready."""
        ...

    def controllers(self) -> Sequence[LiveController]:
        """Return every configured controller, in the order of the config."""
        ...

    def sinks(self) -> Sequence[LiveSink]:
        """Return every configured sink, in the order of the config."""
        ...
