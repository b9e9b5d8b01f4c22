"""What an attempt means for its delivery: done, again later, or a dead letter.

The first retry comes after ``initial`` seconds, each later one after twice the last wait up to ``max``,
less up to a half by chance, so that what failed together does not come back together.
"""

from typing import assert_never

from msgspec import Struct

from cmc_notify.core.delivery import DeliveryState, NewDelivery, Verdict
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """Seconds. ``deadline`` counts from the event."""

    initial: float = 5.0
    max: float = 3600.0
    deadline: float = 86400.0
    probe: float = 30.0
    """How often a blocked sink is tried again."""


def backoff(attempts: int, policy: RetryPolicy, chance: float) -> float:
    """Seconds to wait after ``attempts`` failed attempts (at least 1); ``chance`` is in [0, 1)."""
    doubled: float = policy.initial * 2.0 ** min(attempts - 1, 60)
    return min(doubled, policy.max) * (1 - chance / 2)


def decide(
    outcome: SendOutcome,
    *,
    attempts: int,
    now: float,
    deadline_at: float,
    policy: RetryPolicy,
    chance: float,
    fallback: NewDelivery | None = None,
) -> Verdict:
    """The verdict on an attempt, which was number ``attempts``.

    A blocked sink's deliveries do not age into dead letters: the queue is held until an operator has
    acted. Whatever else is not accepted before the deadline becomes a dead letter, and ``fallback``, the
    same event for another sink, is sent in its place.
    """
    match outcome:
        case Sent(receipt):
            return Verdict(state=DeliveryState.SENT, receipt=receipt)
        case Rejected(reason):
            return Verdict(state=DeliveryState.DEAD, error=reason, fallback=fallback)
        case Blocked(reason):
            return Verdict(
                state=DeliveryState.PENDING,
                due_at=now + policy.probe,
                error=reason,
                counts_as_attempt=False,
            )
        case RetryLater(reason, after):
            wait = backoff(attempts, policy, chance)
            due = now + (wait if after is None else max(after, 0.0))
            return _again(due, reason, deadline_at, fallback, unclear=False)
        case Unclear(reason):
            due = now + backoff(attempts, policy, chance)
            return _again(due, reason, deadline_at, fallback, unclear=True)
        case _:
            assert_never(outcome)


def _again(
    due: float, reason: str, deadline_at: float, fallback: NewDelivery | None, *, unclear: bool
) -> Verdict:
    if due > deadline_at:
        return Verdict(
            state=DeliveryState.DEAD,
            error=f"gave up at the deadline: {reason}",
            unclear=unclear,
            fallback=fallback,
        )
    return Verdict(state=DeliveryState.PENDING, due_at=due, error=reason, unclear=unclear)
