"""What one attempt to send can come to. Only the outbox retries; a sink just says what happened."""

from msgspec import Struct


class Sent(Struct, frozen=True):
    """Accepted. ``receipt`` is what the other side called it (Slack's ts, a ticket number), for people."""

    receipt: str | None = None


class RetryLater(Struct, frozen=True):
    """Not taken now. ``after`` is the receiver's own wish in seconds (Retry-After), None without one."""

    reason: str
    after: float | None = None


class Unclear(Struct, frozen=True):
    """May have arrived (contact was lost after the request was written): reconcile before sending again."""

    reason: str


class Rejected(Struct, frozen=True):
    """This message will never be taken: a dead letter. Other messages may well be."""

    reason: str


class Blocked(Struct, frozen=True):
    """No message will be taken until an operator acts (credentials, missing channel, 410): hold the queue."""

    reason: str


SendOutcome = Sent | RetryLater | Unclear | Rejected | Blocked
