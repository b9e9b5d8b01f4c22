"""A delivery: one event for one sink about one subject, and the states that it goes through."""

from enum import StrEnum

from msgspec import Struct


class DeliveryState(StrEnum):
    """The life of a delivery: pending → sent, or → dead and back by hand, or → superseded."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    UNROUTED = "unrouted"
    """The event matched no route; nothing is sent."""
    SILENCED = "silenced"
    """Everybody who would be told of the event is kept from it by a silence; nothing is sent."""
    SUPERSEDED = "superseded"
    """An interim state of a job that was not told before a newer one was there to tell; nothing is sent."""


class Purpose(StrEnum):
    """What a delivery is for, beyond telling its event."""

    NOTIFY = "notify"
    """People are told, anew."""
    FOLLOW = "follow"
    """What stands there already (a message, a ticket) is brought up to date; nobody is told anew."""
    CLOSE = "close"
    """What the ticket is about is over: it is closed with this."""


class NewDelivery(Struct, frozen=True, kw_only=True):
    """A delivery to be written with its event. (event_id, sink, subject) is unique in the store."""

    id: str
    """Also the first idempotency key. Holds no dot."""
    event_id: str
    sink: str
    """Empty for an event that matched no route (state ``unrouted``), and for one that is silenced."""
    subject: str
    """What the delivery is about at the receiver: the job, the controller, a ticket."""
    ordering_key: str
    """Within one sink, deliveries of one key are sent in the order of their commits."""
    shown: tuple[int, ...] | None = None
    """Indices of the failures (or recoveries) that the route lets through; None for all."""
    waits_for: tuple[str, ...] = ()
    """Deliveries that must be sent or dead before this one is due (a resolve after its triggers)."""
    purpose: Purpose = Purpose.NOTIFY
    silenced_by: str | None = None
    """The silences that kept the event from everybody, in words; then there is no ``sink``."""
    unless_notified: bool = False
    """For a fallback that tells people: it is written with what no other delivery tells its sink of the
    event, and not at all where that is nothing.
    """
    due_at: float
    deadline_at: float


class AttemptResult(Struct, frozen=True, kw_only=True):
    """What an attempt means for its delivery; made by ``core.retry``."""

    state: DeliveryState
    due_at: float | None = None
    """When to try again; only with state pending."""
    error: str | None = None
    receipt: str | None = None
    unclear: bool = False
    counts_as_attempt: bool = True
    fallback: NewDelivery | None = None
    """The delivery of the same event through the sink's fallback. With state dead it is sent; with state
    sent, a resolve's, only if the fallback was handed what it ends.
    """
