"""The result of an attempt for its delivery: sent, another try later, or a dead letter.

The first retry comes after ``initial`` seconds, each later one after twice the last wait up to ``max``,
less a random part of up to a half, so that deliveries that failed together are not retried together. The
last attempt is at the deadline itself.
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
    """The time between two tries of a blocked sink."""


MIN_WAIT = 1.0
"""Seconds; applies even if a receiver asks to be tried again at once."""


def backoff(attempts: int, policy: RetryPolicy, chance: float) -> float:
    """Return the seconds to wait after ``attempts`` failed attempts (at least 1); ``chance`` is in [0, 1)."""
    doubled: float = policy.initial * 2.0 ** min(attempts - 1, 60)
    return min(doubled, policy.max) * (1 - chance / 2)


def retry_after_wait(after: float, own: float) -> float:
    """Return the seconds to wait for a receiver that asks for ``after``; without it we would wait ``own``."""
    return max(after, min(own, MIN_WAIT))


def expired_result(reason: str, *, unclear: bool, fallback: NewDelivery | None) -> AttemptResult:
    """Return the result for a delivery that reached its deadline while it waited for its sink."""
    return AttemptResult(
        state=DeliveryState.DEAD,
        error=f"gave up at the deadline, while waiting for the sink: {reason}",
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
    """Return the result of attempt number ``attempts``.

    ``unclear`` means that an earlier attempt may have arrived.
    A blocked sink's deliveries do not become dead letters with time: the queue waits until an operator has
    acted. Any other delivery that is not accepted by the deadline becomes a dead letter, and ``fallback``
    (the same event for another sink) is sent instead. A delivery that ``resolves`` failures also goes to the
    fallback after it was accepted, for the failures that the fallback got. ``unclear`` stays set until the
    delivery is sent or dead: a rejection now does not say whether the attempt before arrived.
    """
    match outcome:
        case Sent(receipt):
            follow_up = fallback if resolves else None
            return AttemptResult(state=DeliveryState.SENT, receipt=receipt, fallback=follow_up)
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
            due = now + retry_after_wait(after, wait) if after else _due_at(deadline_at, now, wait)
            return _retry_or_give_up(due, reason, deadline_at, fallback, unclear=unclear)
        case Unclear(reason):
            due = _due_at(deadline_at, now, backoff(attempts, policy, chance))
            return _retry_or_give_up(due, reason, deadline_at, fallback, unclear=True)
        case _:
            assert_never(outcome)


def _due_at(deadline_at: float, now: float, wait: float) -> float:
    """Return the end of the wait, or the deadline if it comes first and has not passed."""
    return min(now + wait, deadline_at) if now < deadline_at else now + wait


def _retry_or_give_up(
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
