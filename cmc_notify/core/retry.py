"""What an attempt means for its delivery: done, again later, or a dead letter.

The first retry comes after ``initial`` seconds, each later one after twice the last wait up to ``max``,
less up to a half by chance, so that what failed together does not come back together. The last attempt
falls on the deadline itself.
"""

from typing import assert_never

from msgspec import Struct

from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """Seconds. ``deadline`` counts from the event."""

    initial: float = 5.0
    max: float = 3600.0
    deadline: float = 86400.0
    probe: float = 30.0
    """How often a blocked sink is tried again."""


SHORTEST_WAIT = 1.0
"""Seconds; a receiver that asks to be tried again at once is not taken at its word."""


def backoff(attempts: int, policy: RetryPolicy, chance: float) -> float:
    """Seconds to wait after ``attempts`` failed attempts (at least 1); ``chance`` is in [0, 1)."""
    doubled: float = policy.initial * 2.0 ** min(attempts - 1, 60)
    return min(doubled, policy.max) * (1 - chance / 2)


def retry_after_wait(after: float, own: float) -> float:
    """Seconds to wait for a receiver that asks for ``after``, where we would wait ``own`` by ourselves."""
    return max(after, min(own, SHORTEST_WAIT))


def expired_result(reason: str, *, unclear: bool, fallback: NewDelivery | None) -> AttemptResult:
    """The verdict on a delivery that reached its deadline while its sink rested; it was not tried again."""
    return AttemptResult(
        state=DeliveryState.DEAD,
        error=f"gave up at the deadline, while the sink rests: {reason}",
        unclear=unclear,
        counts_as_attempt=False,
        fallback=fallback,
    )


def decide(
    outcome: SendOutcome,
    *,
    attempts: int,
    now: float,
    deadline_at: float,
    policy: RetryPolicy,
    chance: float,
    fallback: NewDelivery | None = None,
    unclear: bool = False,
    resolves: bool = False,
) -> AttemptResult:
    """The verdict on attempt number ``attempts``; ``unclear`` says that an earlier one may have arrived.

    A blocked sink's deliveries do not age into dead letters: the queue is held until an operator has
    acted. Whatever else is not accepted by the deadline becomes a dead letter, and ``fallback``, the
    same event for another sink, is sent in its place. What ``resolves`` failures goes there also when it
    was taken, for those that were handed over. A doubt stays until the delivery is done: a refusal
    now does not say what became of the attempt before.
    """
    match outcome:
        case Sent(receipt):
            follows = fallback if resolves else None
            return AttemptResult(state=DeliveryState.SENT, receipt=receipt, fallback=follows)
        case Rejected(reason):
            return AttemptResult(state=DeliveryState.DEAD, error=reason, unclear=unclear, fallback=fallback)
        case Blocked(reason):
            return AttemptResult(
                state=DeliveryState.PENDING,
                due_at=now + policy.probe,
                error=reason,
                unclear=unclear,
                counts_as_attempt=False,
            )
        case RetryLater(reason, after):
            wait = backoff(attempts, policy, chance)
            due = now + retry_after_wait(after, wait) if after else _by(deadline_at, now, wait)
            return _again(due, reason, deadline_at, fallback, unclear=unclear)
        case Unclear(reason):
            due = _by(deadline_at, now, backoff(attempts, policy, chance))
            return _again(due, reason, deadline_at, fallback, unclear=True)
        case _:
            assert_never(outcome)


def _by(deadline_at: float, now: float, wait: float) -> float:
    """When the wait is over, or the deadline where that comes first and is still ahead."""
    return min(now + wait, deadline_at) if now < deadline_at else now + wait


def _again(
    due: float, reason: str, deadline_at: float, fallback: NewDelivery | None, *, unclear: bool
) -> AttemptResult:
    if due > deadline_at:
        return AttemptResult(
            state=DeliveryState.DEAD,
            error=f"gave up at the deadline: {reason}",
            unclear=unclear,
            fallback=fallback,
        )
    return AttemptResult(state=DeliveryState.PENDING, due_at=due, error=reason, unclear=unclear)
