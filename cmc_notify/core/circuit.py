"""A circuit breaker for one sink: a pure state machine over failures in a row.

- *closed*: messages may be sent.
- *open*: several failures in a row. Nothing is sent until ``open_until``.
- *half-open*: that time has passed. One message is tried: a success closes the circuit, a failure opens it
  again, for twice as long.

Times are Unix seconds.
"""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.retry import RetryPolicy, backoff

FAILURES_TO_OPEN = 5
"""In a row, over all deliveries. With fewer, one message that makes a receiver fail could open it alone."""

MAX_OPEN_SECONDS = 60.0
"""The sink's own ``retry.max`` applies where that is less: a receiver that works again is found soon."""


class CircuitState(StrEnum):
    """The three states of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Circuit(Struct, frozen=True, kw_only=True):
    """The circuit of one sink. It starts closed; each attempt makes the next one."""

    failures: int = 0
    """In a row, while closed."""
    openings: int = 0
    """In a row, without a success in between; 0 while closed."""
    open_until: float = 0.0

    @property
    def closed(self) -> bool:
        """True if messages may be sent as usual."""
        return self.openings == 0

    def state(self, now: float) -> CircuitState:
        """The state at ``now``."""
        if self.closed:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self.open_until else CircuitState.HALF_OPEN

    def after_failure(self, *, begun_at: float, now: float, retry: RetryPolicy, chance: float) -> "Circuit":
        """The circuit after an attempt from ``begun_at`` to ``now`` that failed.

        ``chance`` in [0, 1) spreads the times for which it stays open.
        """
        if not self.closed and begun_at < self.open_until:
            return self  # it began before the circuit opened, and says nothing new
        if self.closed and self.failures + 1 < FAILURES_TO_OPEN:
            return replace(self, failures=self.failures + 1)
        limited = replace(retry, max=min(retry.max, MAX_OPEN_SECONDS))
        openings = self.openings + 1
        return Circuit(openings=openings, open_until=now + backoff(openings, limited, chance))
