"""A Teams channel behind a Workflows webhook, as documented.

- https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using:
  the envelope of a card, 202 for what was taken, at most four requests in a second (429).
- https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook:
  28 KB; 21 KB here, since more was seen to be refused.
- https://adaptivecards.io/explorer/: the elements; a TextBlock knows markdown, a TextRun does not.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cmc_notify.simulator.tickets.ticket_server import Call, Refusal, Route, ServiceResponse, TicketServer

PATH = "/workflows/simulated-secret/triggers/manual/paths/invoke"
LARGEST = 21 * 1024
_PER_SECOND = 4
_KIND = "application/vnd.microsoft.card.adaptive"
_MARKDOWN = re.compile(r"[*_\[\]#`~]|^\s*(?:-|\d+\.)\s", re.MULTILINE)
_SIZES = {"Default", "Small", "Medium", "Large", "ExtraLarge"}
_COLOURS = {"Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"}
_SPACINGS = {"None", "Small", "Default", "Medium", "Large", "ExtraLarge", "Padding"}


class TeamsCard(NamedTuple):
    """A card in the channel."""

    content: Mapping[str, Any]

    @property
    def shown(self) -> str:
        """Return what a reader sees: a line for each block, and the buttons' addresses."""
        lines = [text for text, _ in _texts(self.content)]
        return "\n".join([*lines, *(action["url"] for action in self.content.get("actions", ()))])

    @property
    def markup(self) -> list[str]:
        """Return the markdown in its text blocks."""
        return [mark for text, knows in _texts(self.content) if knows for mark in _MARKDOWN.findall(text)]


class TeamsServer(TicketServer):
    """Accepts cards. With ``pace``, at most four a second."""

    def __init__(self, *, pace: bool = False) -> None:
        super().__init__()
        self.cards: list[TeamsCard] = []
        self.pace = pace
        self._times: list[float] = []

    @property
    def webhook_url(self) -> str:
        """Return the value for the sink's ``url``."""
        return f"{self.url}{PATH}?api-version=1&sig=simulated"

    def routes(self) -> Sequence[Route]:
        """Return the only route: post."""
        return [("POST", PATH, "card", self._card)]

    def unauthorized(self) -> Any:
        """Return the response to a wrong signature in the address."""
        return {"error": {"code": "DirectApiAuthorizationRequired", "message": "unauthorized"}}

    def _card(self, call: Call) -> ServiceResponse:
        if self.pace and self._too_fast():
            raise Refusal(429, {"error": {"code": "429", "message": "Rate limit is exceeded."}})
        if len(call.raw) > LARGEST:
            raise Refusal(413, {"error": {"code": "RequestEntityTooLarge", "message": "too large"}})
        if problems := [*_problems(call.document)]:
            raise Refusal(400, {"error": {"code": "BadRequest", "message": "; ".join(problems)}})
        self.cards.append(TeamsCard(call.document["attachments"][0]["content"]))
        return ServiceResponse(202)

    def _too_fast(self) -> bool:
        now = time.monotonic()
        self._times = [when for when in self._times if when > now - 1]
        self._times.append(now)
        return len(self._times) > _PER_SECOND


def _texts(card: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the text of each block in order, and True if it supports markdown."""
    for block in card["body"]:
        if block["type"] == "TextBlock":
            yield block["text"], True
        else:
            yield "".join(run if isinstance(run, str) else run["text"] for run in block["inlines"]), False


def _problems(document: Any) -> Iterator[str]:
    if not isinstance(document, dict) or document.get("type") != "message":
        yield "type: must be message"
        return
    attachments = document.get("attachments")
    if not isinstance(attachments, list) or not attachments:
        yield "attachments: at least one"
        return
    for attachment in attachments:
        if attachment.get("contentType") != _KIND:
            yield f"contentType: must be {_KIND}"
        yield from _card_problems(attachment.get("content"))


def _card_problems(card: Any) -> Iterator[str]:
    if not isinstance(card, dict) or card.get("type") != "AdaptiveCard":
        yield "content: must be an AdaptiveCard"
        return
    if not re.fullmatch(r"1\.[0-5]", str(card.get("version"))):
        yield "version: 1.0 to 1.5"
    for block in card.get("body", []):
        yield from _block(block)
    for action in card.get("actions", []):
        if action.get("type") != "Action.OpenUrl" or not action.get("title"):
            yield "actions: Action.OpenUrl with a title"
        if urlsplit(str(action.get("url"))).scheme not in ("http", "https"):
            yield "actions: url"


def _block(block: Mapping[str, Any]) -> Iterator[str]:
    if block.get("spacing", "Default") not in _SPACINGS:
        yield "spacing"
    if block.get("type") == "TextBlock":
        runs = [block]
    elif block.get("type") == "RichTextBlock" and block.get("inlines"):
        runs = [run for run in block["inlines"] if not isinstance(run, str)]
        if any(run.get("type") != "TextRun" for run in runs):
            yield "inlines: TextRun"
    else:
        yield f"body: {block.get('type')}"
        return
    for run in runs:
        if not isinstance(run.get("text"), str) or not run["text"]:
            yield "text: must be a text"
        if run.get("size", "Default") not in _SIZES or run.get("color", "Default") not in _COLOURS:
            yield "size or color"
