"""Messages and files in a Slack channel, and their form in the Web API."""

import base64
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class SlackMessage:
    """A message in a channel. ``raw`` is the posted or last updated content; a reply has ``thread_ts``."""

    channel: str
    ts: str
    raw: dict[str, Any]
    thread_ts: str | None = None
    files: list["SlackFile"] = field(default_factory=list)
    broadcast: bool = False
    """A reply that the channel shows too."""
    ours: bool = True
    """True if the bot posted it."""
    versions: list[dict[str, Any]] = field(default_factory=list)
    """All contents, from the posted one to the present one."""
    deleted: bool = False

    def __post_init__(self) -> None:
        self.versions.append(self.raw)

    def update(self, raw: dict[str, Any]) -> None:
        """Replace the content."""
        self.raw = raw
        self.versions.append(raw)

    @property
    def text(self) -> str:
        """Return the notification text."""
        return str(self.raw.get("text") or "")

    @property
    def texts(self) -> list[str]:
        """Return the text of every block, in order, escaped as posted."""
        return texts_of(self.raw)


def texts_of(raw: dict[str, Any]) -> list[str]:
    """Return the text of every block of one version, in order, escaped as posted."""
    return [
        part["text"]
        for block in raw.get("blocks") or []
        for part in [block.get("text"), *block.get("elements", []), *block.get("fields", [])]
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


@dataclass(slots=True)
class SlackFile:
    """An uploaded file; ``channel`` is None until the upload is completed."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    title: str | None = None
    channel: str | None = None


def described(file: SlackFile) -> dict[str, Any]:
    """Return a file in the form of the Web API."""
    return {"id": file.id, "name": file.name, "title": file.title, "size": file.length, "mode": "snippet"}


def shown(message: SlackMessage, *, metadata: bool) -> dict[str, Any]:
    """Return a message in the form of the Web API."""
    found: dict[str, Any] = {
        "type": "message",
        "bot_id": "B0SIMULATED" if message.ours else "B0ANOTHER",
        "ts": message.ts,
        "text": message.text,
        "blocks": message.raw.get("blocks") or [],
    }
    if message.thread_ts:
        found["thread_ts"] = message.thread_ts
    if message.broadcast:
        found["subtype"] = "thread_broadcast"
    if len(message.versions) > 1:
        found["edited"] = {"user": "U0SIMULATED", "ts": message.ts}
    if message.files:
        found["files"] = [described(file) for file in message.files]
    if metadata and message.raw.get("metadata"):
        found["metadata"] = message.raw["metadata"]
    return found


def page(messages: list[SlackMessage], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return one page of a response, by ``oldest``, ``latest``, ``limit`` and ``cursor``."""
    oldest = float(arguments.get("oldest") or 0)
    latest = float(arguments.get("latest") or "inf")
    within = [message for message in messages if oldest < float(message.ts) < latest]
    start = int(base64.b64decode(str(arguments.get("cursor") or "")) or b"0")
    end = start + min(int(arguments.get("limit") or 100), 999)
    metadata = str(arguments.get("include_all_metadata", "")).lower() in {"1", "true"}
    more = end < len(within)
    return {
        "ok": True,
        "messages": [shown(message, metadata=metadata) for message in within[start:end]],
        "has_more": more,
        "response_metadata": {"next_cursor": base64.b64encode(str(end).encode()).decode() if more else ""},
    }
