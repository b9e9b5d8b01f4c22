"""Messages and files as they stand in a Slack channel, and as the Web API shows them."""

import base64
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class SlackMessage:
    """A message as it stands in a channel. ``raw`` is what was posted, or what it was last updated to;
    ``thread_ts`` is set in a reply.
    """

    channel: str
    ts: str
    raw: dict[str, Any]
    thread_ts: str | None = None
    files: list["SlackFile"] = field(default_factory=list)
    broadcast: bool = False
    """A reply that is shown in the channel as well."""
    ours: bool = True
    """Whether the bot posted it."""
    versions: list[dict[str, Any]] = field(default_factory=list)
    """What it was at each time, the first as it was posted, the last as it is."""
    deleted: bool = False

    def __post_init__(self) -> None:
        self.versions.append(self.raw)

    def update(self, raw: dict[str, Any]) -> None:
        """It is this from now on."""
        self.raw = raw
        self.versions.append(raw)

    @property
    def text(self) -> str:
        """The notification text."""
        return str(self.raw.get("text") or "")

    @property
    def texts(self) -> list[str]:
        """The text of every block, in order, escaped as it was posted."""
        return texts_of(self.raw)


def texts_of(raw: dict[str, Any]) -> list[str]:
    """The text of every block of one version, in order, escaped as it was posted."""
    return [
        part["text"]
        for block in raw.get("blocks") or []
        for part in [block.get("text"), *block.get("elements", []), *block.get("fields", [])]
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


@dataclass(slots=True)
class SlackFile:
    """An uploaded file; ``channel`` is None until it was completed."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    title: str | None = None
    channel: str | None = None


def described(file: SlackFile) -> dict[str, Any]:
    """A file as answers describe it."""
    return {"id": file.id, "name": file.name, "title": file.title, "size": file.length, "mode": "snippet"}


def shown(message: SlackMessage, *, metadata: bool) -> dict[str, Any]:
    """A message as answers show it."""
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
    """One page of an answer, by ``oldest``, ``latest``, ``limit`` and ``cursor``."""
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
