"""How a sink is served, and what is sent elsewhere in its place."""

from msgspec import Struct

from cmc_notify.core.delivery import NewDelivery, Purpose
from cmc_notify.core.events import EventType
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.ticketing import FAILURE_PREFIX, JOB_PREFIX
from cmc_notify.ports import Claim


class SinkPolicy(Struct, frozen=True, kw_only=True):
    """How a sink is served. ``timeout`` is that of one attempt, in seconds."""

    timeout: float
    concurrency: int
    retry: RetryPolicy
    fallback: str | None = None
    send_resolved: bool = True
    """Whether it is told of recoveries, its own and those handed over."""
    tickets: bool = False
    """Whether it opens tickets."""


def fallback_delivery(
    claim: Claim, policy: SinkPolicy, fallback_policy: SinkPolicy | None, *, now: float
) -> NewDelivery | None:
    """The delivery that the fallback gets in this one's place; None where there is none.

    A sink hears nothing of itself, nor of recoveries where it wants none. An interim state is no loss, for
    what comes after it is told; nor is what would only have brought something up to date there, nor what
    was taken once and is only sent anew.
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
            subject = f"event:{dead.id}"  # the ticket's job need not be the one that the event is about
        elif dead.subject.startswith(FAILURE_PREFIX):  # one message tells what a ticket for each would have
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
    """Whether a fallback that was handed what this delivery ends has to hear of the end, too."""
    if claim.event.recoveries:
        return True
    return claim.delivery.purpose is Purpose.CLOSE and fallback_policy is not None and fallback_policy.tickets
