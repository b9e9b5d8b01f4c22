"""Tickets: one for each subject, opened, brought up to date and closed under one key.

Guarantee: whatever is repeated (a retry, a crash before the record, another replica) leads to the same
ticket, by its key or by what was recorded of it.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, assert_never

import msgspec

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import SendOutcome, Sent
from cmc_notify.core.ticketing import OPENING
from cmc_notify.ports import Message, PartRecorder, Posting, PreviewDocument
from cmc_notify.sinks.webhook.preset import MessageContent, PresetSink
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.webhook_client import HttpResult, WebhookClient, service_outcome

CLOSING = frozenset(
    {
        EventType.APPLIANCE_RECOVERED,
        EventType.CONTROLLER_RECOVERED,
        EventType.SINK_RECOVERED,
        EventType.JOB_SUCCEEDED,
    }
)
DONE = "done"
"""The part that stands for all of a message."""
ALERT_LABEL = "alert"
"""What people call what the vendor gives no number: the sink's name beside it says where it is."""
_NOTHING_OPEN = "no ticket is open"


class TicketSettings(PresetSettings):
    """What the settings of every ticket preset have in common."""

    @property
    def opens_tickets(self) -> bool:
        """They all do."""
        return True


class TicketSink(PresetSink):
    """A preset says what opens, updates and closes a ticket; when is decided here."""

    @abstractmethod
    async def open_or_update(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Open the ticket, again where it is closed, or add to it where it is open."""

    @abstractmethod
    async def update_quietly(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Bring the open ticket up to date; nobody is told anew. ``message.posting`` is open."""

    @abstractmethod
    async def resolve(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Close the ticket. ``message.posting`` is open, or not known: then it may still be there."""

    async def deliver(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """As the message's purpose asks; what an earlier attempt completed is not done again."""
        if DONE in message.parts:
            return Sent(message.parts[DONE])
        posting = message.posting
        match message.purpose:
            case Purpose.NOTIFY:
                return await self.open_or_update(message, content, client, record)
            case Purpose.FOLLOW:
                if posting is None or not posting.open:
                    return Sent(_NOTHING_OPEN)
                return await self.update_quietly(message, content, client, record)
            case Purpose.CLOSE:
                if posting is not None and not posting.open:
                    return Sent(_NOTHING_OPEN)
                return await self.resolve(message, content, client, record)
            case _:
                assert_never(message.purpose)

    def content(self, message: Message) -> MessageContent:
        """A repeat is recognised by its key or looked for first, so no ticket has to warn of one."""
        return super().content(msgspec.structs.replace(message, unclear=False))

    def preview(self, message: Message) -> list[PreviewDocument]:
        """What a failure opens, and what a recovery closes; no ticket hears of anything else."""
        kind = message.event.type
        if kind in CLOSING:
            standing = Posting(reference="sample", label="SAMPLE-1", notes={})
            message = msgspec.structs.replace(message, purpose=Purpose.CLOSE, posting=standing)
        elif kind not in OPENING:
            return [PreviewDocument("request.txt", f"nothing is sent: no ticket is opened by {kind}\n")]
        return [*super().preview(message)]


class KeyedTicketSink(TicketSink):
    """A ticket at a service that recognises its key: one request does all, and can be repeated."""

    @abstractmethod
    def key(self, subject: str) -> str:
        """The key of what this is about."""

    async def post_and_record(
        self,
        message: Message,
        client: WebhookClient,
        record: PartRecorder,
        *,
        url: str,
        document: Mapping[str, Any] | list[Any] | None,
        body: bytes | None = None,
        posting: Posting,
        step: str | None = None,
    ) -> SendOutcome:
        """Post ``body``, else ``document``; once taken, record what stands there now. ``step`` tells one of
        several requests of a message from the others.
        """
        data = body if body is not None else msgspec.json.encode(document)
        message_id = f"{message.key}-{step}" if step else message.key
        result = await client.request("POST", url, data, message_id=message_id, read=True)
        outcome = service_outcome(result)
        if isinstance(outcome, Sent):
            receipt = posting.reference
            await record(DONE, receipt, posting=posting)
            return Sent(receipt)
        return outcome


def probe_outcome(result: HttpResult, *, also: Collection[int] = ()) -> SendOutcome:
    """The outcome of a probe by reading, where the statuses ``also`` say nothing against writing."""
    if isinstance(result.outcome, Sent):
        return Sent(f"HTTP {result.status}")
    if result.status in also:
        return Sent(f"it answers reading with HTTP {result.status}, which says nothing about writing")
    return result.outcome
