"""The limit of messages that may be sent to one sink at once: a pure state machine over their outcomes.

One flow control serves one sink, and decides for all of its deliveries:

- *normal*: up to ``concurrency`` messages at once.
- *throttled*: the receiver named a time (Retry-After). Nothing is sent until then. Then one message at a
  time, and one more with each message that it accepts, so that its limit is not hit in bursts again.
- *circuit open*: several failures in a row (``core.circuit``). After a wait, one message is tried.
- *blocked*: an operator must act. One message is tried at each ``probe``.

A receiver that judges a message works: a rejected message counts as little against it as an accepted one.
Times are Unix seconds. A clock that was set back ends every wait: none lasts as long as the clock is wrong.
"""

from enum import StrEnum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.circuit import Circuit
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy, retry_after_wait

CLOCK_TOLERANCE = 5.0
"""Seconds that a clock may be corrected backwards without being taken as set back."""


class FlowState(StrEnum):
    """The states of the module's docstring."""

    NORMAL = "normal"
    THROTTLED = "throttled"
    CIRCUIT_OPEN = "circuit open"
    """Open or half-open: no message has been accepted since."""
    BLOCKED = "blocked"


class FlowControl(Struct, frozen=True, kw_only=True):
    """The flow control of one sink. It starts normal; each attempt's outcome makes the next one."""

    concurrency: int
    retry: RetryPolicy
    circuit: Circuit = Circuit()
    throttled: bool = False
    """Set by Retry-After until a message that began after that time is accepted."""
    blocked: bool = False
    reason: str = ""
    """The reason of the last outcome that throttled, opened or blocked it."""
    reduced_by: int = 0
    """How many fewer messages than ``concurrency`` may be in flight at once."""
    throttled_until: float = 0.0
    """Named by the receiver: kept whatever else happens."""
    probe_at: float = 0.0
    """The next try while blocked; ended by any sign that the sink works."""
    waits_since: float = 0.0
    """The time at which the last of these waits was set."""

    @property
    def state(self) -> FlowState:
        """The strongest of the limits that apply."""
        if self.blocked:
            return FlowState.BLOCKED
        if not self.circuit.closed:
            return FlowState.CIRCUIT_OPEN
        return FlowState.THROTTLED if self.throttled else FlowState.NORMAL

    @property
    def next_start_at(self) -> float:
        """When the next message may be started, as far as time alone decides."""
        return max(self.circuit.open_until, self.probe_at, self.throttled_until)

    def waits(self, now: float) -> bool:
        """Return True if no message at all may be started now."""
        return now < self.next_start_at and not self._clock_was_set_back(now)

    def capacity(self, now: float, in_flight: int) -> int:
        """The number of messages that may be started now in addition to those ``in_flight``."""
        if self.waits(now):
            return 0
        if self.state in (FlowState.CIRCUIT_OPEN, FlowState.BLOCKED):
            # Messages from before count too: one that hangs must not fill every slot again.
            return 0 if in_flight else 1
        return max(self.concurrency - self.reduced_by - in_flight, 0)

    def deadlines_apply(self, now: float) -> bool:
        """Return True if a delivery may reach its deadline here without another try.

        That is so where it waits for the sink, not for a free slot. A blocked queue does not age.
        """
        state = self.state
        return state is FlowState.CIRCUIT_OPEN or (state is FlowState.THROTTLED and self.waits(now))

    def after(self, outcome: SendOutcome, *, begun_at: float, now: float, chance: float) -> "FlowControl":
        """The flow control after an attempt from ``begun_at`` to ``now``.

        ``chance`` in [0, 1) spreads the waits.
        """
        if self._clock_was_set_back(now):
            return self._without_waits().after(outcome, begun_at=begun_at, now=now, chance=chance)
        changed = self._after(outcome, begun_at, now, chance)
        if changed.next_start_at == self.next_start_at:
            return changed
        return replace(changed, waits_since=now)

    def _clock_was_set_back(self, now: float) -> bool:
        """Return True if the clock shows an earlier time than when the wait was set."""
        return now < self.waits_since - CLOCK_TOLERANCE

    def _without_waits(self) -> "FlowControl":
        circuit = replace(self.circuit, open_until=0.0)
        return replace(self, circuit=circuit, throttled_until=0.0, probe_at=0.0, waits_since=0.0)

    def _after(self, outcome: SendOutcome, begun_at: float, now: float, chance: float) -> "FlowControl":
        match outcome:
            case Sent() | Rejected():
                return self._after_judgement(begun_at, now)
            case Blocked(reason):
                return self._reduced(reason, blocked=True, probe_at=now + self.retry.probe)
            case RetryLater(reason, after) if after:
                return self._after_throttling(reason, after, begun_at, now)
            case RetryLater(reason) | Unclear(reason):
                return self._after_failure(reason, begun_at, now, chance)
            case _:
                assert_never(outcome)

    def _after_judgement(self, begun_at: float, now: float) -> "FlowControl":
        works = replace(self, circuit=Circuit(), blocked=False, probe_at=0.0)
        if begun_at < self.throttled_until:
            # It began before the receiver asked for a pause: it does not show what the receiver can take.
            return replace(works, throttled=now < self.throttled_until)
        return replace(works, throttled=False, reduced_by=max(self.reduced_by - 1, 0))

    def _after_throttling(self, reason: str, after: float, begun_at: float, now: float) -> "FlowControl":
        # A time beyond the deadline of everything that can wait is honoured no longer than that.
        wait = min(retry_after_wait(after, self.retry.initial), self.retry.deadline)
        until = max(self.throttled_until, now + wait)
        if self.blocked:
            return replace(self, reason=reason, throttled_until=until, probe_at=now + self.retry.probe)
        if begun_at < self.circuit.open_until:
            return replace(self, throttled_until=until)
        return self._reduced(reason, throttled=True, throttled_until=until)

    def _after_failure(self, reason: str, begun_at: float, now: float, chance: float) -> "FlowControl":
        if self.blocked:
            return replace(self, probe_at=now + self.retry.probe)
        circuit = self.circuit.after_failure(begun_at=begun_at, now=now, retry=self.retry, chance=chance)
        if circuit.openings == self.circuit.openings:
            return replace(self, circuit=circuit)
        return self._reduced(reason, circuit=circuit)

    def _reduced(
        self,
        reason: str,
        *,
        circuit: Circuit = Circuit(),  # noqa: B008  frozen
        throttled: bool = False,
        blocked: bool = False,
        throttled_until: float | None = None,
        probe_at: float = 0.0,
    ) -> "FlowControl":
        """One message at a time, for exactly one of the three causes."""
        return replace(
            self,
            circuit=circuit,
            throttled=throttled,
            blocked=blocked,
            reason=reason,
            reduced_by=self.concurrency - 1,
            throttled_until=self.throttled_until if throttled_until is None else throttled_until,
            probe_at=probe_at,
        )
