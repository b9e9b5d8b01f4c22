r"""One Discord channel behind a webhook, as documented.

- https://discord.com/developers/docs/resources/webhook#execute-webhook: its required parts, the form of
  files, ``wait``; #get-webhook-with-token: what may be read.
- https://discord.com/developers/docs/resources/message#embed-object-embed-limits: lengths, 6000 in all.
- https://discord.com/developers/docs/resources/message#allowed-mentions-object: who is pinged.
- https://discord.com/developers/docs/reference#uploading-files: 10 MiB.
- https://discord.com/developers/docs/topics/rate-limits: 429 with ``retry_after`` in fractional seconds.
- https://support.discord.com/hc/en-us/articles/210298617: the markdown syntax, and ``\`` as its escape.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from email import message_from_bytes, policy
from typing import Any, NamedTuple

from cmc_notify.simulator.tickets.ticket_server import (
    Call,
    Refusal,
    Route,
    ServiceResponse,
    TicketServer,
    units,
)

PATH = "/api/webhooks/223704706495545344/simulated-secret"
LARGEST_FILES = 10 * 2**20
_CONTENT, _EMBEDS, _EMBED_TEXTS = 2000, 10, 6000
_FIELDS, _FIELD_NAME, _FIELD_VALUE = 25, 256, 1024
_WHITE = 0xFFFFFF
_LIMITS = {"title": 256, "description": 4096}
_EVERYBODY = re.compile(r"(?<!\\)@(?:everyone|here)|(?<!\\)<@&?\d+>")
_ESCAPED = re.compile(r"\\([^A-Za-z0-9\s])")
_MARKUP = re.compile(r"[\\*_~`|<>\[\]#]|@(?=everyone|here)|https?://|^\s*(?:[-+]|\d+[.)])\s", re.MULTILINE)


class DiscordMessage(NamedTuple):
    """A message in the channel."""

    document: Mapping[str, Any]
    files: Mapping[str, bytes]

    @property
    def markdown(self) -> str:
        """Return everything that Discord reads as markdown."""
        embeds = self.document.get("embeds") or []
        texts = [text for embed in embeds for text in (embed.get("title"), embed.get("description"))]
        return "\n".join(filter(None, (self.document.get("content"), *texts)))

    @property
    def shown(self) -> str:
        """Return what a reader sees: without escapes, with link addresses and file contents."""
        links = [embed.get("url") or "" for embed in self.document.get("embeds") or []]
        files = [content.decode("utf-8", "replace") for content in self.files.values()]
        return "\n".join([_ESCAPED.sub(r"\1", self.markdown), *links, *files])

    @property
    def markup(self) -> list[str]:
        """Return its markup, except bold and italics around a line's beginning or a whole line."""
        text = _ESCAPED.sub("", self.markdown)
        text = re.sub(r"^\*\*([^*\n]*)\*\*|^\*([^*\n]*)\*$", r"\1\2", text, flags=re.MULTILINE)
        return _MARKUP.findall(text)

    @property
    def pings(self) -> bool:
        """Return True if a mention alerts anybody: without ``allowed_mentions`` each one does."""
        allowed = self.document.get("allowed_mentions")
        content = self.document.get("content") or ""
        return bool(_EVERYBODY.search(content)) and (allowed is None or bool(allowed.get("parse")))


class DiscordServer(TicketServer):
    """Accepts messages. ``limited`` is the number of seconds that the next one must wait, once."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[DiscordMessage] = []
        self.limited: float | None = None

    @property
    def webhook_url(self) -> str:
        """Return the value for the sink's ``url``."""
        return f"{self.url}{PATH}"

    def routes(self) -> Sequence[Route]:
        """Return the webhook's routes: post and read."""
        return [("POST", PATH, "execute", self._execute), ("GET", PATH, "get webhook", self._get)]

    def unauthorized(self) -> Any:
        """Return the response to a wrong token in the path."""
        return {"message": "Invalid Webhook Token", "code": 50027}

    def _get(self, _call: Call) -> ServiceResponse:
        return ServiceResponse(200, {"id": "223704706495545344", "type": 1, "name": "cmc-notify"})

    def _execute(self, call: Call) -> ServiceResponse:
        if self.limited is not None:
            wait, self.limited = self.limited, None
            limited = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
            raise Refusal(429, limited)
        document, files = _parts(call)
        if sum(map(len, files.values())) > LARGEST_FILES:
            raise Refusal(413, {"message": "Request entity too large", "code": 40005})
        problems = [*_problems(document)] if isinstance(document, dict) else ["not a JSON object"]
        if isinstance(document, dict) and not (document.get("content") or document.get("embeds") or files):
            raise Refusal(400, {"message": "Cannot send an empty message", "code": 50006})
        if problems:
            raise Refusal(400, {"message": "Invalid Form Body", "code": 50035, "errors": problems})
        self.messages.append(DiscordMessage(document, files))
        if call.request.query.get("wait") != "true":
            return ServiceResponse(204)
        return ServiceResponse(200, {"id": str(len(self.messages)), "type": 0})


def _parts(call: Call) -> tuple[Any, dict[str, bytes]]:
    """Return ``payload_json`` and ``files[n]`` of a form, or only a JSON body."""
    kind = call.request.headers.get("Content-Type", "")
    if not kind.startswith("multipart/form-data"):
        return call.document, {}
    form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + call.raw, policy=policy.HTTP)
    document: Any = None
    files: dict[str, bytes] = {}
    for part in form.iter_parts() if form.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if name == "payload_json":
            try:
                document = json.loads(content)
            except ValueError:
                raise Refusal(400, {"message": "Invalid JSON", "code": 50109}) from None
        elif isinstance(name, str) and re.fullmatch(r"files\[\d+\]", name):
            files[part.get_filename() or name] = content
    return document, files


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _text("content", document.get("content", ""), _CONTENT)
    embeds = document.get("embeds", [])
    if not isinstance(embeds, list) or len(embeds) > _EMBEDS or not all(isinstance(e, dict) for e in embeds):
        yield f"embeds: must be at most {_EMBEDS} objects"
        return
    total = 0
    for number, embed in enumerate(embeds):
        for name, most in _LIMITS.items():
            yield from _text(f"embeds[{number}].{name}", embed.get(name, ""), most)
        fields = embed.get("fields", [])
        if len(fields) > _FIELDS:
            yield f"embeds[{number}].fields: at most {_FIELDS}"
        texts = [str(embed.get(name, "")) for name in _LIMITS]
        for field in fields:
            yield from _text("field name", field.get("name"), _FIELD_NAME, blank=False)
            yield from _text("field value", field.get("value"), _FIELD_VALUE, blank=False)
            texts += [str(field.get("name")), str(field.get("value"))]
        footer = embed.get("footer", {}).get("text", "")
        yield from _text("footer", footer, 2048)
        total += sum(map(units, [*texts, footer]))
        if not str(embed.get("url", "https://")).startswith(("http://", "https://")):
            yield f"embeds[{number}].url: not a well formed URL"
        if not 0 <= embed.get("color", 0) <= _WHITE:
            yield f"embeds[{number}].color: int value should be less than or equal to 16777215"
    if total > _EMBED_TEXTS:
        yield f"embeds: {total} characters in all, at most {_EMBED_TEXTS}"


def _text(place: str, found: object, most: int, *, blank: bool = True) -> Iterator[str]:
    if not isinstance(found, str):
        yield f"{place}: must be a text"
    elif units(found) > most:
        yield f"{place}: Must be {most} or fewer in length."
    elif not blank and not found.strip():
        yield f"{place}: This field is required"
