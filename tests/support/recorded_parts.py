"""A PartRecorder for tests of sinks: it remembers what the outbox would."""

import msgspec

from cmc_notify.ports import Message, Posting


class Parts:
    """A PartRecorder that remembers."""

    def __init__(self) -> None:
        self.recorded: dict[str, str] = {}
        self.posting: Posting | None = None

    async def __call__(self, part: str, receipt: str, *, posting: Posting | None = None) -> None:
        """Remember that ``part`` was accepted, and what stands there now."""
        self.recorded[part] = receipt
        self.posting = posting or self.posting

    def resumed(self, message: Message, *, unclear: bool = False) -> Message:
        """The message as the outbox hands it out again."""
        return msgspec.structs.replace(
            message, parts=dict(self.recorded), posting=self.posting, unclear=unclear, attempt=2
        )

    def next(self, message: Message) -> Message:
        """Another message about the same subject, as the outbox hands it out after this one."""
        return msgspec.structs.replace(message, posting=self.posting)
