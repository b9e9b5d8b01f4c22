"""A Slack workspace in memory: channels, threads, files, and the Web API's responses about them.

It refuses what Slack refuses, with its documented codes. It has only the methods that the bridge calls.
"""

import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from cmc_notify.simulator.slack_messages import SlackFile, SlackMessage, described, page, shown
from cmc_notify.simulator.slack_rules import refusal

SCOPES = frozenset(
    {
        "chat:write",
        "files:write",
        "files:read",
        "channels:history",
        "channels:read",
        "groups:history",
        "groups:read",
    }
)
_NEEDED = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "conversations.list": "channels:read",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
    "files.list": "files:read",
}

_UPDATES_A_MINUTE = 50
"""chat.update is in Slack's rate limit tier 3."""


class SlackWorkspace:
    """The part of Slack that one bot token and one incoming webhook can see."""

    def __init__(
        self,
        *,
        channels: dict[str, str] | None = None,
        on_message: Callable[[SlackMessage], None] | None = None,
        on_update: Callable[[SlackMessage], None] | None = None,
        pace: bool = False,
    ) -> None:
        """``channels`` maps names to ids; the first is the incoming webhook's.

        ``on_message`` is called with each stored message, reply and shared file, ``on_update`` with each
        updated message. ``pace`` applies Slack's limits: one message a second per channel, fifty updates a
        minute.
        """
        self.channels = channels or {"netops": "C0NETOPS001"}
        self.token = "xoxb-simulated-token"  # noqa: S105  it opens nothing but this server
        self.base = ""
        """The base URL, without a slash at the end."""
        self.messages: list[SlackMessage] = []
        self.files: list[SlackFile] = []
        self.scopes = set(SCOPES)
        self.revoked = False
        self.members = set(self.channels.values())
        """Channels that the bot is in; others give ``not_in_channel``."""
        self.archived: set[str] = set()
        self.pace = pace
        self.edit_window: float | None = None
        """Seconds for which a message may be updated, if the workspace limits it."""
        self._on_message = on_message
        self._on_update = on_update
        self._last_post: dict[str, float] = {}
        self._last_updates: deque[float] = deque(maxlen=_UPDATES_A_MINUTE)
        self._next_ts = 0

    def thread(self, message: SlackMessage) -> list[SlackMessage]:
        """Return the replies to a message."""
        return [reply for reply in self.messages if reply.thread_ts == message.ts and not reply.deleted]

    @property
    def parents(self) -> list[SlackMessage]:
        """Return the messages of the channels, without replies that a channel shows too."""
        return [message for message in self.messages if message.thread_ts is None and not message.deleted]

    def say(self, text: str, channel: str | None = None) -> SlackMessage:
        """Store a message from somebody else."""
        where = channel or next(iter(self.channels.values()))
        return self._store(SlackMessage(where, self._new_ts(), {"text": text}, ours=False))

    def answer(
        self, method: str, arguments: dict[str, Any], header: str
    ) -> tuple[dict[str, Any], int, dict[str, str]]:
        """Return body, status and headers of the response; ``header`` is the request's Authorization."""
        if not header:
            return _no("not_authed"), 200, {}
        if header != f"Bearer {self.token}":
            return _no("invalid_auth"), 200, {}
        if self.revoked:
            return _no("token_revoked"), 200, {}
        needed = _NEEDED.get(method)
        if needed and not {needed, needed.replace("channels:", "groups:")} & self.scopes:
            missing = _no("missing_scope", needed=needed, provided=",".join(sorted(self.scopes)))
            return missing, 200, {}
        do = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "conversations.list": self._list_channels,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete_upload,
            "files.list": self._list_files,
        }.get(method)
        response = do(arguments) if do else _no("unknown_method")
        if response.get("error") == "ratelimited":
            return response, 429, {"Retry-After": "1"}
        return response, 200, {}

    def _auth_test(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "team": "Simulated", "user": "cmc-notify", "bot_id": "B0SIMULATED"}

    def _post_message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name = str(arguments.get("channel") or "").removeprefix("#")
        channel = self.channels.get(name, name)
        if problem := self._closed(channel) or refusal(arguments):
            return _no(problem)
        thread = arguments.get("thread_ts")
        broadcast = _true(arguments.get("reply_broadcast"))
        if broadcast and thread is None:
            return _no("invalid_arguments")
        if problem := self._no_thread(channel, thread):
            return _no(problem)
        if self._too_fast(channel):
            return _no("ratelimited")
        message = self._store(
            SlackMessage(
                channel, self._new_ts(), arguments, str(thread) if thread else None, broadcast=broadcast
            )
        )
        return {"ok": True, "channel": channel, "ts": message.ts, "message": shown(message, metadata=False)}

    def take_webhook(self, arguments: dict[str, Any]) -> tuple[str, int, dict[str, str]]:
        """Return an incoming webhook's response: text, status and headers."""
        channel = next(iter(self.channels.values()))
        if self.revoked:
            return "no_service", 404, {}
        if channel in self.archived:
            return "channel_is_archived", 410, {}
        if problem := refusal(arguments):
            return problem, 400, {}
        if self._too_fast(channel):
            return "rate_limited", 429, {"Retry-After": "1"}
        self._store(SlackMessage(channel, self._new_ts(), arguments))
        return "ok", 200, {}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = str(arguments.get("channel"))
        if channel not in self.channels.values():
            return _no("channel_not_found")  # this method needs an id, not a name
        message = self._find(channel, str(arguments.get("ts")))
        if problem := self._not_updated(message) or refusal(arguments):
            return _no(problem)
        assert message is not None
        now = time.monotonic()
        if self.pace and len(self._last_updates) == _UPDATES_A_MINUTE and now < self._last_updates[0] + 60:
            return _no("ratelimited")
        self._last_updates.append(now)
        # A text without blocks removes the old blocks, as in Slack; metadata stay unless new ones come.
        message.update({"metadata": message.raw.get("metadata"), **arguments})
        if self._on_update:
            self._on_update(message)
        return {"ok": True, "channel": message.channel, "ts": message.ts, "text": message.text}

    def _not_updated(self, message: SlackMessage | None) -> str | None:
        """Return the error code if the bot can't update it, or None; documented with chat.update."""
        if message is None:
            return "message_not_found"
        if not message.ours:
            return "cant_update_message"
        if message.channel in self.archived:
            return "is_inactive"
        window = self.edit_window
        return (
            "edit_window_closed" if window is not None and time.time() > float(message.ts) + window else None
        )

    def _history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = str(arguments.get("channel"))
        if problem := self._closed(channel):
            return _no(problem)
        found = [
            message
            for message in reversed(self.messages)
            if message.channel == channel
            and (message.thread_ts is None or message.broadcast)
            and not message.deleted
        ]
        return page(found, arguments)

    def _replies(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = str(arguments.get("channel"))
        if problem := self._closed(channel):
            return _no(problem)
        parent = self._find(channel, str(arguments.get("ts")))
        if parent is None:
            return _no("thread_not_found")
        return page([parent, *self.thread(parent)], arguments)

    def _list_channels(self, arguments: dict[str, Any]) -> dict[str, Any]:
        public = "public_channel" in str(arguments.get("types", "public_channel"))
        channels = [
            {"id": id_, "name": name, "is_member": id_ in self.members, "is_archived": id_ in self.archived}
            for name, id_ in self.channels.items()
            if public
        ]
        return {"ok": True, "channels": channels, "response_metadata": {"next_cursor": ""}}

    def _upload_url(self, arguments: dict[str, Any]) -> dict[str, Any]:
        length = int(arguments.get("length") or 0)
        if not arguments.get("filename") or length <= 0:
            return _no("invalid_arguments")
        file = SlackFile(f"F{len(self.files) + 1:09d}", str(arguments["filename"]), length)
        self.files.append(file)
        return {"ok": True, "upload_url": f"{self.base}/upload/{file.id}", "file_id": file.id}

    def _complete_upload(self, arguments: dict[str, Any]) -> dict[str, Any]:
        wanted = arguments.get("files")
        listed = json.loads(wanted) if isinstance(wanted, str) else wanted or []
        channel, thread = str(arguments.get("channel_id")), arguments.get("thread_ts")
        if problem := self._closed(channel):
            return _no(problem)
        if self._no_thread(channel, thread):
            return _no("invalid_thread_ts")
        files: list[SlackFile] = []
        for entry in listed:
            file = self.file(str(entry.get("id")))
            if file is None or file.content is None:
                return _no("file_not_found")
            file.title, file.channel = entry.get("title") or file.name, channel
            files.append(file)
        self._store(
            SlackMessage(channel, self._new_ts(), {"text": ""}, str(thread) if thread else None, files)
        )
        # Slack shares files some time after its response, which therefore names no shares.
        return {"ok": True, "files": [{**described(file), "shares": {}} for file in files]}

    def _list_files(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = arguments.get("channel")
        found = [file for file in reversed(self.files) if file.channel and channel in (None, file.channel)]
        count, page = int(arguments.get("count", 100)), int(arguments.get("page", 1))
        shown = found[(page - 1) * count : page * count]
        paging = {"count": count, "total": len(found), "page": page, "pages": -(-len(found) // count)}
        return {"ok": True, "files": [described(file) for file in shown], "paging": paging}

    def _closed(self, channel: str) -> str | None:
        if channel not in self.channels.values():
            return "channel_not_found"
        if channel in self.archived:
            return "is_archived"
        return None if channel in self.members else "not_in_channel"

    def _too_fast(self, channel: str) -> bool:
        now = time.monotonic()
        if self.pace and now < self._last_post.get(channel, 0.0) + 1:
            return True
        self._last_post[channel] = now
        return False

    def _find(self, channel: str, ts: str) -> SlackMessage | None:
        return next((m for m in self.messages if m.channel == channel and m.ts == ts and not m.deleted), None)

    def _no_thread(self, channel: str, thread: object) -> str | None:
        """Return the error code if this ts can't have replies. Slack says to avoid a reply's own ts."""
        if thread is None:
            return None
        parent = self._find(channel, str(thread))
        if parent is None:
            return "thread_not_found"
        return "cannot_reply_to_message" if parent.thread_ts else None

    def file(self, file_id: str) -> SlackFile | None:
        """Return a file by its id, also one that was not completed."""
        return next((file for file in self.files if file.id == file_id), None)

    def _new_ts(self) -> str:
        self._next_ts += 1
        return f"{int(time.time())}.{self._next_ts:06d}"

    def _store(self, message: SlackMessage) -> SlackMessage:
        self.messages.append(message)
        if self._on_message:
            self._on_message(message)
        return message


def _true(value: object) -> bool:
    """Return True for a set flag, in JSON or in a form."""
    return str(value).lower() in {"1", "true"}


def _no(code: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "error": code, **more}
