"""What a place where people are told can do."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from cmc_notify.core.outcome import SendOutcome
from cmc_notify.ports.postings import Posting
from cmc_notify.ports.rendering import Message


class PartRecorder(Protocol):
    """Remembers what the other side has accepted."""

    async def __call__(self, part: str, receipt: str, /, *, posting: Posting | None = None) -> None:
        """As soon as a part of the message was accepted; ``posting`` is what stands there now for the
        message's subject, and is written with it. The next message about the subject gets it.
        """
        ...


class Sink(Protocol):
    """One configured place where people are told. Never raises for what the other side does."""

    @property
    def name(self) -> str:
        """Its name in the config."""
        ...

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """One attempt. The dispatcher bounds its time; a cancelled send leaves nothing half-recorded."""
        ...

    async def probe(self) -> SendOutcome:
        """Test address, credentials and rights without telling anybody anything."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class PreviewDocument(Struct, frozen=True):
    """One thing that would be sent, as text. ``name`` is a file name, such as ``body.json``."""

    name: str
    text: str


@runtime_checkable
class Previewing(Protocol):
    """What a sink may offer besides: to show a message without sending it. It does no I/O."""

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """All that ``send`` would send, with every secret masked."""
        ...
