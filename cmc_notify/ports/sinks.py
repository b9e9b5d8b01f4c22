"""The interface of a sink."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from cmc_notify.core.outcome import SendOutcome
from cmc_notify.ports.postings import Posting
from cmc_notify.ports.rendering import Message


class PartRecorder(Protocol):
    """Records the parts that the receiver has accepted."""

    async def __call__(self, part: str, receipt: str, /, *, posting: Posting | None = None) -> None:
        """Record a part as soon as it was accepted.

        ``posting`` is the posting at the receiver for the message's subject now, and is written with it. The
        next message about the subject gets it.
        """
        ...


class Sink(Protocol):
    """One configured way to notify people. It never raises because of the receiver's behaviour."""

    @property
    def name(self) -> str:
        """Its name in the config."""
        ...

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Make one attempt. The dispatcher limits its time; a cancelled send leaves nothing half-recorded."""
        ...

    async def probe(self) -> SendOutcome:
        """Test address, credentials and rights without a notification."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class PreviewDocument(Struct, frozen=True):
    """One document that would be sent, as text. ``name`` is a file name, such as ``body.json``."""

    name: str
    text: str


@runtime_checkable
class Previewing(Protocol):
    """An optional ability of a sink: to show a message without sending it. It does no I/O."""

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """Return everything that ``send`` would send, with every secret masked."""
        ...
