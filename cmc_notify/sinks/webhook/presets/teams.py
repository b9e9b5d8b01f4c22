"""Microsoft Teams by a Workflows webhook: one adaptive card, as plain text throughout.

Texts go into rich text blocks, whose runs know no markdown, so that every text stays text. A card holds no
file: what does not fit is counted, and the button leads to all of it. Teams recognises no repeat, so that
after a lost response a second copy says that it may be one.
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
"""Bytes of the whole request. The page says 28 KB; requests of 21 KB were seen to be refused."""
_AROUND_LINE = 100
"""Bytes that a line of text costs besides."""
_COLOURS = {"error": "Attention", "warning": "Warning", "info": "Good"}


class TeamsSettings(PresetSettings):
    """``preset: teams``; ``url`` is the one that the workflow shows."""

    preset: Literal["teams"] = "teams"


def card_bytes(text: str) -> int:
    """Bytes that the text takes in a card, a block for each line."""
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
        """Whether anybody answers: a workflow can only be posted to."""
        result = await self.client.request("HEAD", self.base)
        if result.status is None or result.status >= 500:  # noqa: PLR2004  HTTP's own number
            return result.outcome
        return Sent(f"answers HTTP {result.status}; whether it takes cards shows with the first message")


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
    """A block for each line, since a run shows no line break; a blank line is space before the next."""
    blocks: list[dict[str, Any]] = []
    gap = True
    for line in text.split("\n"):
        if line.strip():
            block: dict[str, Any] = {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": line}]}
            blocks.append(block if gap else {**block, "spacing": "None"})
        gap = not line.strip()
    return blocks


PRESET = Preset(settings=TeamsSettings, build=TeamsSink)
