"""How a sink is served, and what is sent elsewhere in its place."""

from msgspec import Struct

from cmc_notify.core.delivery import NewDelivery, Purpose
from cmc_notify.core.events import EventType
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.ticketing import INCIDENT
from cmc_notify.ports import Claim


class SinkPlan(Struct, frozen=True, kw_only=True):
    """How a sink is served. ``timeout`` is that of one attempt, in seconds."""

    timeout: float
    concurrency: int
    retry: RetryPolicy
    fallback: str | None = None
    send_resolved: bool = True
    """Whether it is told of recoveries, its own and those handed over."""
    tickets: bool = False
    """Whether it opens tickets."""


def replacement(
    claim: Claim, plan: SinkPlan, fallback_plan: SinkPlan | None, *, now: float
) -> NewDelivery | None:
    """The delivery that the fallback gets in this one's place; None where there is none.

    A sink hears nothing of itself, nor of recoveries where it wants none. An interim state is no loss, for
    what comes after it is told; nor is what would only have brought something up to date there.
    """
    event, dead = claim.event, claim.delivery
    if plan.fallback is None or fallback_plan is None:
        return None
    if plan.fallback == event.sink or event.type is EventType.JOB_PROGRESS:
        return None
    if event.recoveries and not fallback_plan.send_resolved:
        return None
    if dead.purpose is Purpose.FOLLOW and not event.recoveries:
        return None
    subject, shown, purpose = dead.subject, dead.shown, dead.purpose
    if plan.tickets and not fallback_plan.tickets:
        purpose = Purpose.TELL
        if event.recoveries:
            subject = f"event:{dead.id}"
        elif dead.subject.startswith(INCIDENT):  # one message tells what a ticket for each would have
            subject, shown = f"event:{dead.event_id}", None
    return NewDelivery(
        id=f"{dead.event_id}-{plan.fallback}-for-{dead.id.removeprefix(dead.event_id).lstrip('-')}",
        event_id=dead.event_id,
        sink=plan.fallback,
        subject=subject,
        ordering_key=subject,
        shown=shown,
        purpose=purpose,
        due_at=now,
        deadline_at=now + fallback_plan.retry.deadline,
    )
