"""Microsoft Teams through a Workflows webhook: one adaptive card in plain text.

Texts go into rich text blocks, which have no markdown, so that every text stays text. A card holds no file:
failures that do not fit are counted, and the button leads to all of them. Teams recognises no repeat, so a
second copy after a lost response says that it may be a repeat.
https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
https://adaptivecards.io/explorer/RichTextBlock.html
"""

from typing import Any, Literal

import msgspec

from cmc_notify.core.outcome import Rejected, SendOutcome, Sent
from cmc_notify.ports import Message, PartRecorder
from cmc_notify.sinks.shorter_text import json_bytes
from cmc_notify.sinks.webhook.preset import Limits, MessageContent, Preset, PresetSink
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.webhook_client import WebhookClient, service_outcome

LARGEST_CARD = 20_000
"""Bytes of the whole request. The vendor's page says 28 KB, but requests of 21 KB were refused."""
_AROUND_LINE = 100
"""Bytes that each line of text adds."""
_COLOURS = {"error": "Attention", "warning": "Warning", "info": "Good"}


class TeamsSettings(PresetSettings):
    """``preset: teams``; the workflow shows the ``url``."""

    preset: Literal["teams"] = "teams"


def card_bytes(text: str) -> int:
    """Return the bytes that the text takes in a card, with a block for each line."""
    return sum(json_bytes(line) + _AROUND_LINE for line in text.split("\n"))


class TeamsSink(PresetSink):
    """Posts each message once per attempt."""

    folder = "teams"
    limits = Limits(summary=1000, text=17_000, measure=card_bytes)

    async def deliver(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Post one card."""
        del record  # a card has one part
        body = content.body if content.body is not None else msgspec.json.encode(_document(message, content))
        if len(body) > LARGEST_CARD:
            return Rejected(
                f"the card has {len(body):,} bytes, at most {LARGEST_CARD:,}; shorten its template"
            )
        result = await client.request("POST", self.base, body, message_id=message.key, read=True)
        outcome = service_outcome(result)
        return Sent(f"HTTP {result.status}") if isinstance(outcome, Sent) else outcome

    async def probe(self) -> SendOutcome:
        """Send a HEAD request: a workflow can only be posted to, so this tests the connection alone."""
        result = await self.client.request("HEAD", self.base)
        if result.status is None or result.status >= 500:  # noqa: PLR2004  HTTP's own number
            return result.outcome
        return Sent(
            f"it responds with HTTP {result.status}; only a message can test whether it accepts cards"
        )


def _document(message: Message, content: MessageContent) -> dict[str, Any]:
    event = message.event
    title = {
        "type": "RichTextBlock",
        "inlines": [
            {
                "type": "TextRun",
                "text": content.summary,
                "weight": "Bolder",
                "size": "Medium",
                "color": _COLOURS[event.severity],
            }
        ],
    }
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, *_lines(content.text)],
        "msteams": {"width": "Full"},
    }
    if event.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "All details", "url": event.url}]
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


def _lines(text: str) -> list[dict[str, Any]]:
    """Return a block for each line, since a run shows no line break. A blank line becomes space."""
    blocks: list[dict[str, Any]] = []
    gap = True
    for line in text.split("\n"):
        if line.strip():
            block: dict[str, Any] = {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": line}]}
            blocks.append(block if gap else {**block, "spacing": "None"})
        gap = not line.strip()
    return blocks


PRESET = Preset(settings=TeamsSettings, build=TeamsSink)
