"""Tickets: one for each subject, opened, updated and closed under one key.

Guarantee: every repeat (a retry, a crash before the record, another replica) leads to the same ticket, by its
key or by its record.
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
"""The part that stands for the whole message."""
ALERT_LABEL = "alert"
"""The label of an alert to which the vendor gives no number. Pages show it next to the sink's name."""
_NOTHING_OPEN = "no ticket is open"


class TicketSettings(PresetSettings):
    """The settings that all ticket presets share."""

    @property
    def opens_tickets(self) -> bool:
        """Return True: every ticket preset does."""
        return True


class TicketSink(PresetSink):
    """The base of ticket presets. This class decides when; a preset knows how to open, update and close."""

    @abstractmethod
    async def open_or_update(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Open the ticket, reopen it if it is closed, or add to it if it is open. People are notified."""

    @abstractmethod
    async def update_quietly(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Update the open ticket without notifying anybody anew. ``message.posting`` is open."""

    @abstractmethod
    async def resolve(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Close the ticket. ``message.posting`` is open, or unknown: then a ticket may still exist."""

    async def deliver(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Act by the message's purpose. The part that an earlier attempt completed is not done again."""
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
        """Return the texts without a warning of a repeat: tickets recognise one, or look for it first."""
        return super().content(msgspec.structs.replace(message, unclear=False))

    def preview(self, message: Message) -> list[PreviewDocument]:
        """Return the requests of a failure and of a recovery; other events send nothing to a ticket."""
        kind = message.event.type
        if kind in CLOSING:
            standing = Posting(reference="sample", label="SAMPLE-1", notes={})
            message = msgspec.structs.replace(message, purpose=Purpose.CLOSE, posting=standing)
        elif kind not in OPENING:
            return [PreviewDocument("request.txt", f"nothing is sent: no ticket is opened by {kind}\n")]
        return [*super().preview(message)]


class KeyedTicketSink(TicketSink):
    """The base of presets whose service recognises the key: one request does all, and can be repeated."""

    @abstractmethod
    def key(self, subject: str) -> str:
        """Return the service's key for the subject."""

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
        """Post ``body``, else ``document``. After success, record ``posting``.

        ``step`` tells several requests of one message apart.
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
    """Return the outcome of a probe that only reads. The statuses ``also`` do not rule out writing."""
    if isinstance(result.outcome, Sent):
        return Sent(f"HTTP {result.status}")
    if result.status in also:
        return Sent(f"it responds to reading with HTTP {result.status}; only a message can test writing")
    return result.outcome
