"""A delivery (one event for one sink about one subject) and its states."""

from enum import StrEnum

from msgspec import Struct


class DeliveryState(StrEnum):
    """The states of a delivery: pending → sent, or → dead and back by hand, or → superseded."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    UNROUTED = "unrouted"
    """The event matched no route; nothing is sent."""
    SILENCED = "silenced"
    """Silences hide the event from every sink that would get it; nothing is sent."""
    SUPERSEDED = "superseded"
    """An interim state of a job, replaced by a newer one before it was sent; nothing is sent."""


class Purpose(StrEnum):
    """The effect that a delivery has at its sink."""

    NOTIFY = "notify"
    """People are notified: a new message or ticket."""
    FOLLOW = "follow"
    """The existing message or ticket is brought up to date; nobody is notified."""
    CLOSE = "close"
    """The trouble is over: the ticket is closed with this."""


class NewDelivery(Struct, frozen=True, kw_only=True):
    """A delivery to be written with its event. (event_id, sink, subject) is unique in the store."""

    id: str
    """Also the first idempotency key. It has no dot."""
    event_id: str
    sink: str
    """Empty for an event that matched no route (state ``unrouted``) or is silenced."""
    subject: str
    """The thing that it is about at the receiver: the job, the controller, a ticket."""
    ordering_key: str
    """Within one sink, deliveries of one key are sent in the order of their commits."""
    shown: tuple[int, ...] | None = None
    """Indices of the failures (or recoveries) that the route lets through; None for all."""
    waits_for: tuple[str, ...] = ()
    """Deliveries that must be sent or dead before this one is due (a resolve after its triggers)."""
    purpose: Purpose = Purpose.NOTIFY
    silenced_by: str | None = None
    """A description of the silences that hid the event from every sink; then ``sink`` is empty."""
    unless_notified: bool = False
    """For a fallback that notifies people: it is written only with what no other delivery of the event
    notifies its sink of, and not at all if nothing is left.
    """
    due_at: float
    deadline_at: float


class AttemptResult(Struct, frozen=True, kw_only=True):
    """The result of an attempt for its delivery; made by ``core.retry``."""

    state: DeliveryState
    due_at: float | None = None
    """The time of the next try; only with state pending."""
    error: str | None = None
    receipt: str | None = None
    unclear: bool = False
    counts_as_attempt: bool = True
    fallback: NewDelivery | None = None
    """The delivery of the same event through the sink's fallback. With state dead it is sent. With state
    sent (of a resolve) it is sent only if the fallback got the failures that it ends.
    """
