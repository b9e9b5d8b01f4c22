"""The five outcomes of one attempt to send. Only the outbox retries; a sink only returns an outcome."""

from msgspec import Struct


class Sent(Struct, frozen=True):
    """Accepted. ``receipt`` is the receiver's own name for it (Slack's ts, a ticket number), for people."""

    receipt: str | None = None


class RetryLater(Struct, frozen=True):
    """Not accepted now. ``after`` is the receiver's Retry-After in seconds, None without one."""

    reason: str
    after: float | None = None


class Unclear(Struct, frozen=True):
    """May have arrived (contact was lost after the request was written): reconcile before sending again."""

    reason: str


class Rejected(Struct, frozen=True):
    """This message will never be accepted: a dead letter. Other messages may be accepted."""

    reason: str


class Blocked(Struct, frozen=True):
    """No message will be accepted until an operator acts (credentials, missing channel, 410)."""

    reason: str


SendOutcome = Sent | RetryLater | Unclear | Rejected | Blocked
