"""What people do from chat needs of the store: what a button is about, what came of it, and who did it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from cmc_notify.core.model import JobState
from cmc_notify.ports.postings import Acknowledgement


class ActionOutcome(StrEnum):
    """What came of one attempt to do something from chat."""

    BEGUN = "begun"
    """Nothing is known yet; it stays so where the process died in the middle."""
    DONE = "done"
    REFUSED = "refused"
    """This person may not do it."""
    OUTDATED = "outdated"
    """What was pressed is not current any more, or there is nothing left to do."""
    FAILED = "failed"
    """The controller refused or could not be reached, or the store failed."""
    FORGED = "forged"
    """The signature is wrong or old: nobody knows who it was."""
    UNREADABLE = "unreadable"
    """It came the right way and made no sense."""


class ChatAction(Struct, frozen=True, kw_only=True):
    """One attempt, as it is kept for an audit. Names are outside text; nothing in it is a secret."""

    id: str
    """The same for the same press, however often and to whichever replica it is sent."""
    at: float
    """Unix seconds, by our clock."""
    sink: str
    via: str
    """``socket`` or ``http``."""
    action: str
    """``cancel``, ``acknowledge``, ``silence``; ``unknown`` where it can't be told."""
    outcome: ActionOutcome
    who: str | None = None
    """The person's id at the chat."""
    name: str | None = None
    subject: str | None = None
    detail: str | None = None
    """How it was asked for, such as for how long to be silent."""
    answer: str | None = None
    """What came back: the controller's words, or why not."""


class RefreshResult(StrEnum):
    """What ``ChatActions.refresh`` found."""

    DUE = "due"
    """The last message is due again, and shows what has changed."""
    PENDING = "pending"
    """One is pending anyhow, and will show it."""
    IN_FLIGHT = "in flight"
    """One is being sent, and may have been read before the change: ask again when it has ended."""
    NO_MESSAGE = "no message"
    """No message stands that could show it."""


class ChatActions(Protocol):
    """Every method raises StoreUnavailable."""

    async def posted_at(self, subject: str, reference: str) -> Sequence[str]:
        """The sinks at which ``reference`` (Slack: ``channel:ts``) is the message about the subject now."""
        ...

    async def job(self, controller: str, uid: str) -> JobState | None:
        """One job as last seen."""
        ...

    async def acknowledge(self, subject: str, *, by: str, at: float) -> Acknowledgement:
        """Take the subject upon somebody; returns who has it: the first one who asked."""
        ...

    async def refresh(self, sink: str, subject: str, *, now: float) -> RefreshResult:
        """Have the sink bring its message about the subject up to date: the newest delivery that was sent is
        due again, with its key and its accepted parts, but for the one that stands as the message itself.
        """
        ...

    async def begin(self, action: ChatAction) -> bool:
        """Write the attempt down; False where this one was before, and is not to be done again."""
        ...

    async def finish(self, action_id: str, outcome: ActionOutcome, answer: str | None) -> None:
        """Write down what came of it."""
        ...


class ActionLog(Protocol):
    """The audit as people read it."""

    async def actions(self, *, limit: int = 50) -> Sequence[ChatAction]:
        """The newest attempts first. Raises StoreUnavailable."""
        ...
