"""The store's part in actions from chat: the subject of a button, the outcome, and the person."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from cmc_notify.core.model import JobState
from cmc_notify.ports.postings import Acknowledgement


class ActionOutcome(StrEnum):
    """The outcome of one attempt to do something from chat."""

    BEGUN = "begun"
    """Nothing is known yet; it stays so if the process died in the middle."""
    DONE = "done"
    REFUSED = "refused"
    """This person may not do it."""
    OUTDATED = "outdated"
    """The pressed button is out of date, or there is nothing left to do."""
    FAILED = "failed"
    """The controller refused or could not be reached, or the store failed."""
    FORGED = "forged"
    """The signature is wrong or old: the person is not known."""
    UNREADABLE = "unreadable"
    """The signature is right, but the content can't be read."""


class ChatAction(Struct, frozen=True, kw_only=True):
    """One attempt, as it is kept for an audit. Names are text from outside; nothing in it is a secret."""

    id: str
    """The same for the same press, however often it is sent, and to any replica."""
    at: float
    """Unix seconds, on our own clock."""
    sink: str
    via: str
    """``socket`` or ``http`` for the chat; ``token``, ``session`` or ``proxy`` over HTTP."""
    action: str
    """``cancel``, ``acknowledge``, ``silence``; ``unknown`` if it can't be read."""
    outcome: ActionOutcome
    who: str | None = None
    """The person's id at the chat, or the name of the token or of the proxy's person."""
    name: str | None = None
    subject: str | None = None
    detail: str | None = None
    """More about the request, such as the duration of a silence."""
    address: str | None = None
    """Where the request came from, if it came over HTTP and not from the chat."""
    answer: str | None = None
    """The result in words: the controller's own, or the reason of a refusal."""


class RefreshResult(StrEnum):
    """The result of ``ChatActions.refresh``."""

    DUE = "due"
    """The last message is due again, and will show the change."""
    PENDING = "pending"
    """A message is pending already, and will show it."""
    IN_FLIGHT = "in flight"
    """A message is being sent, and may have been built before the change: call again when it has ended."""
    NO_MESSAGE = "no message"
    """There is no message that could show it."""


class ChatActions(Protocol):
    """The store of actions from chat. Every method raises StoreUnavailable."""

    async def posted_at(self, subject: str, reference: str) -> Sequence[str]:
        """Return the sinks whose message about the subject is ``reference`` now (Slack: ``channel:ts``)."""
        ...

    async def job(self, controller: str, uid: str) -> JobState | None:
        """Return one job as last observed; None if it is unknown."""
        ...

    async def acknowledge(self, subject: str, *, by: str, at: float) -> Acknowledgement:
        """Acknowledge the subject for a person; returns the acknowledgement of the first person who did."""
        ...

    async def refresh(self, sink: str, subject: str, *, now: float) -> RefreshResult:
        """Bring the sink's message about the subject up to date.

        The newest sent delivery is due again, with its key and its accepted parts, except the part that is
        the message itself.
        """
        ...

    async def begin(self, action: ChatAction) -> bool:
        """Record the attempt; returns False if it is recorded already, and must not be done again."""
        ...

    async def finish(
        self, action_id: str, outcome: ActionOutcome, answer: str | None, *, subject: str | None = None
    ) -> None:
        """Record its outcome, and its subject where that was not known before."""
        ...


class ActionLog(Protocol):
    """The audit log for people."""

    async def actions(self, *, limit: int = 50) -> Sequence[ChatAction]:
        """Return attempts, the newest first. Raises StoreUnavailable."""
        ...


class AuditTrail(ActionLog, Protocol):
    """The audit log for those who write to it. Every method raises StoreUnavailable."""

    async def begin(self, action: ChatAction) -> bool:
        """Record the attempt; returns False if it is recorded already, and must not be done again."""
        ...

    async def finish(
        self, action_id: str, outcome: ActionOutcome, answer: str | None, *, subject: str | None = None
    ) -> None:
        """Record its outcome, and its subject where that was not known before."""
        ...
