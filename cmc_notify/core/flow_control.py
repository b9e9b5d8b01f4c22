"""How many messages to one sink may be begun now, by what became of those before: a pure state machine.

One gate serves one sink, and stands before all of its deliveries:

- *closed* (a circuit: messages flow): up to ``concurrency`` at once.
- *paused*: the receiver named a time (Retry-After). Until then nothing is begun. Then one at a time, and
  one more with each message that it takes, so that the limit is not run into in bursts again and again.
- *open*: several failures in a row. The sink rests, then one message tries; each failure doubles the rest.
- *blocked*: an operator must act. One message tries at each ``probe``.

Whoever judges a message, well or ill, works: a refused message closes the gate no more than a good one.
Times are Unix seconds. A clock that was set back ends every rest: none lasts as long as the clock is wrong.
"""

from enum import StrEnum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy, backoff, retry_after_wait

FAILURES_TO_OPEN = 5
"""In a row, over all deliveries. Fewer would let one message that makes a receiver stumble open it alone."""

LONGEST_REST = 60.0
"""Seconds, or the sink's own ``retry.max`` where that is less: a receiver that is back is soon found so."""

CLOCK_SHAKES = 5.0
"""Seconds that a clock may be corrected backwards without being taken as set back."""


class FlowState(StrEnum):
    """See the module."""

    CLOSED = "closed"
    PAUSED = "paused"
    OPEN = "open"
    BLOCKED = "blocked"


class FlowControl(Struct, frozen=True, kw_only=True):
    """The gate of one sink. It starts closed; each attempt's outcome makes the next one."""

    concurrency: int
    retry: RetryPolicy
    state: FlowState = FlowState.CLOSED
    reason: str = ""
    """What the last attempt that closed or narrowed it came to."""
    spare: int = 0
    """By how many fewer than ``concurrency`` may be in flight at once."""
    failures: int = 0
    """In a row, while not open."""
    openings: int = 0
    """In a row: how often it was opened without a message taken in between."""
    rests_until: float = 0.0
    """Our own caution, ended by any sign that the sink works."""
    asked_until: float = 0.0
    """The receiver's wish, kept whatever happens."""
    rests_from: float = 0.0
    """When the last of both was set."""

    def resting(self, now: float) -> bool:
        """Whether nothing at all may be begun now."""
        return now < self.opens_at and not self._set_back(now)

    def _set_back(self, now: float) -> bool:
        """Whether the clock shows an earlier time than when the rest was set: its end then means nothing."""
        return now < self.rests_from - CLOCK_SHAKES

    @property
    def opens_at(self) -> float:
        """When the next message may be begun, as far as time alone decides."""
        return max(self.rests_until, self.asked_until)

    def room(self, now: float, in_flight: int) -> int:
        """How many messages may be begun now beside those ``in_flight``."""
        if self.resting(now):
            return 0
        if self.state in (FlowState.OPEN, FlowState.BLOCKED):
            # What hangs from before counts too: one that never answers must not hold every place again.
            return 0 if in_flight else 1
        return max(self.concurrency - self.spare - in_flight, 0)

    def ages(self, now: float) -> bool:
        """Whether deliveries may pass their deadlines here without another try: they wait for the sink,
        not for a place. A blocked queue does not age.
        """
        return self.state is FlowState.OPEN or (self.state is FlowState.PAUSED and self.resting(now))

    def after(self, outcome: SendOutcome, *, begun_at: float, now: float, chance: float) -> "FlowControl":
        """The gate after an attempt from ``begun_at`` to ``now``; ``chance`` in [0, 1) spreads the rests."""
        if self._set_back(now):
            awake = replace(self, rests_until=0.0, asked_until=0.0, rests_from=0.0)
            return awake.after(outcome, begun_at=begun_at, now=now, chance=chance)
        made = self._after(outcome, begun_at, now, chance)
        return made if made.opens_at == self.opens_at else replace(made, rests_from=now)

    def _after(self, outcome: SendOutcome, begun_at: float, now: float, chance: float) -> "FlowControl":
        match outcome:
            case Sent() | Rejected():
                return self._judged(begun_at, now)
            case Blocked(reason):
                return self._narrowed(FlowState.BLOCKED, reason, rests_until=now + self.retry.probe)
            case RetryLater(reason, after) if after:
                return self._asked(reason, after, begun_at, now)
            case RetryLater(reason) | Unclear(reason):
                return self._failed(reason, begun_at, now, chance)
            case _:
                assert_never(outcome)

    def _judged(self, begun_at: float, now: float) -> "FlowControl":
        gate = replace(self, failures=0, openings=0, rests_until=0.0)
        if begun_at < self.asked_until:
            # Begun before the receiver asked for a rest, so it says nothing about how much is too much.
            state = FlowState.PAUSED if now < self.asked_until else FlowState.CLOSED
            return replace(gate, state=state)
        return replace(gate, state=FlowState.CLOSED, spare=max(self.spare - 1, 0))

    def _asked(self, reason: str, after: float, begun_at: float, now: float) -> "FlowControl":
        # A wish beyond the deadline of everything that can wait is kept no longer than that.
        wait = min(retry_after_wait(after, self.retry.initial), self.retry.deadline)
        asked_until = max(self.asked_until, now + wait)
        if self.state is FlowState.BLOCKED:
            return replace(self, reason=reason, asked_until=asked_until, rests_until=now + self.retry.probe)
        if self.state is FlowState.OPEN and begun_at < self.rests_until:
            return replace(self, asked_until=asked_until)
        return self._narrowed(FlowState.PAUSED, reason, rests_until=0.0, asked_until=asked_until)

    def _failed(self, reason: str, begun_at: float, now: float, chance: float) -> "FlowControl":
        match self.state:
            case FlowState.BLOCKED:
                return replace(self, rests_until=now + self.retry.probe)
            case FlowState.OPEN if begun_at < self.rests_until:
                return self  # of the failures that opened it, one that came later
            case FlowState.OPEN:
                return self._opened(reason, now, chance)
            case FlowState.CLOSED | FlowState.PAUSED:
                if self.failures + 1 >= FAILURES_TO_OPEN:
                    return self._opened(reason, now, chance)
                return replace(self, failures=self.failures + 1)
            case _:
                assert_never(self.state)

    def _opened(self, reason: str, now: float, chance: float) -> "FlowControl":
        longest = replace(self.retry, max=min(self.retry.max, LONGEST_REST))
        rest = backoff(self.openings + 1, longest, chance)
        return self._narrowed(FlowState.OPEN, reason, rests_until=now + rest, openings=self.openings + 1)

    def _narrowed(
        self,
        state: FlowState,
        reason: str,
        *,
        rests_until: float,
        asked_until: float | None = None,
        openings: int = 0,
    ) -> "FlowControl":
        return replace(
            self,
            state=state,
            reason=reason,
            spare=self.concurrency - 1,
            failures=0,
            openings=openings,
            rests_until=rests_until,
            asked_until=self.asked_until if asked_until is None else asked_until,
        )
