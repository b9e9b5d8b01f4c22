"""The delivery settings of a sink, and the delivery that its fallback gets."""

from msgspec import Struct

from cmc_notify.core.delivery import NewDelivery, Purpose
from cmc_notify.core.events import EventType
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.ticketing import FAILURE_PREFIX, JOB_PREFIX
from cmc_notify.ports import Claim


class SinkPolicy(Struct, frozen=True, kw_only=True):
    """The delivery settings of a sink. ``timeout`` is that of one attempt, in seconds."""

    timeout: float
    concurrency: int
    retry: RetryPolicy
    fallback: str | None = None
    send_resolved: bool = True
    """True if it is notified of recoveries, its own and those that it gets as a fallback."""
    tickets: bool = False
    """True if it opens tickets."""


def fallback_delivery(
    claim: Claim, policy: SinkPolicy, fallback_policy: SinkPolicy | None, *, now: float
) -> NewDelivery | None:
    """Return the delivery that the fallback gets if this one is given up; None if it gets none.

    A sink is not notified of itself, nor of recoveries if it does not want them. An interim state is not
    sent, because a later state follows; nor is a mere update of a message, nor a delivery that was accepted
    once and is only sent again.
    """
    event, dead = claim.event, claim.delivery
    if policy.fallback is None or fallback_policy is None:
        return None
    if policy.fallback == event.sink or event.type is EventType.JOB_PROGRESS:
        return None
    if (event.recoveries or dead.purpose is Purpose.CLOSE) and not fallback_policy.send_resolved:
        return None
    if dead.receipt is not None:
        return None
    if dead.purpose is Purpose.FOLLOW and not event.recoveries:
        return None
    subject, shown, purpose = dead.subject, dead.shown, dead.purpose
    if policy.tickets and not fallback_policy.tickets:
        purpose = Purpose.NOTIFY
        if event.recoveries or (dead.purpose is Purpose.CLOSE and dead.subject.startswith(JOB_PREFIX)):
            subject = f"event:{dead.id}"  # the job of the ticket may be another than the event's
        elif dead.subject.startswith(FAILURE_PREFIX):  # one message instead of a ticket for each
            subject, shown = f"event:{dead.event_id}", None
    return NewDelivery(
        id=f"{dead.event_id}-{policy.fallback}-for-{dead.id.removeprefix(dead.event_id).lstrip('-')}",
        event_id=dead.event_id,
        sink=policy.fallback,
        subject=subject,
        ordering_key=subject,
        shown=shown,
        purpose=purpose,
        unless_notified=not fallback_policy.tickets,
        due_at=now,
        deadline_at=now + fallback_policy.retry.deadline,
    )


def fallback_needs_end(claim: Claim, fallback_policy: SinkPolicy | None) -> bool:
    """Return True if the fallback must be notified too when this delivery ends something that it has got."""
    if claim.event.recoveries:
        return True
    return claim.delivery.purpose is Purpose.CLOSE and fallback_policy is not None and fallback_policy.tickets
