"""Lookup of a part that may have arrived, after an attempt whose response was lost.

Messages carry the delivery's key and the part's name in their metadata, files in their titles. If the token
may not read them, the result is UNKNOWN.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from cmc_notify.core.outcome import Blocked
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.error_codes import CREDENTIALS, SlackCallFailed

EVENT_TYPE = "cmc_notify"
_PAGE = 200
_MOST_PAGES = 20
_CLOCKS_DIFFER = 3600
"""Seconds. The event's time is by the bridge's clock, a message's by Slack's."""


class NotFound(Enum):
    """The reasons for having no receipt."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


def metadata(key: str, part: str) -> dict[str, Any]:
    """Return the metadata by which a message is found again."""
    return {"event_type": EVENT_TYPE, "event_payload": {"key": key, "part": part}}


class Lookup:
    """Looks for the parts of the delivery ``key`` of an event that happened at ``time`` (RFC 3339)."""

    def __init__(self, client: SlackClient, key: str, time: str) -> None:
        self._client = client
        self._key = key
        self._since = str(int(datetime.fromisoformat(time).timestamp()) - _CLOCKS_DIFFER)

    async def message(self, channel: str | None, part: str) -> str | NotFound:
        """Return the receipt (``channel:ts``) of a message in the channel.

        Raises SlackCallFailed if a later attempt may find it.
        """
        if channel is None:
            return NotFound.UNKNOWN
        arguments = {"channel": channel, "oldest": self._since}
        return await self._posted("conversations.history", arguments, channel, part)

    async def reply(self, channel: str, thread: str, part: str) -> str | NotFound:
        """Return the receipt of a message in a thread."""
        arguments = {"channel": channel, "ts": thread}
        return await self._posted("conversations.replies", arguments, channel, part)

    async def file(self, channel: str, thread: str, mark: str) -> str | NotFound:
        """Return the id of the file whose title ends with ``mark``, in the thread or the channel's files."""
        seen = False
        for method, arguments in (
            ("conversations.replies", {"channel": channel, "ts": thread}),
            ("files.list", {"channel": channel, "ts_from": self._since}),
        ):
            try:
                async for item in self._pages(method, arguments):
                    for file in item.get("files") or [item]:
                        if str(file.get("title", "")).endswith(mark):
                            return str(file.get("id"))
                seen = True
            except _LookupRefused:
                continue
        return NotFound.ABSENT if seen else NotFound.UNKNOWN

    async def _posted(
        self, method: str, arguments: Mapping[str, Any], channel: str, part: str
    ) -> str | NotFound:
        wanted = metadata(self._key, part)
        try:
            async for message in self._pages(method, {**arguments, "include_all_metadata": True}):
                if _has_metadata(message.get("metadata"), wanted):
                    return f"{channel}:{message['ts']}"
        except _LookupRefused:
            return NotFound.UNKNOWN
        return NotFound.ABSENT

    async def _pages(self, method: str, arguments: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield every message (or file) of the response's pages. Raises _LookupRefused."""
        cursor: str | None = None
        for page in range(1, _MOST_PAGES + 1):
            paging = (
                {"count": _PAGE, "page": page}
                if method == "files.list"
                else {"limit": _PAGE, "cursor": cursor}
            )
            data = await read_page(self._client, method, **arguments, **paging)
            for item in data.get("messages") or data.get("files") or []:
                if isinstance(item, dict):
                    yield item
            cursor = (data.get("response_metadata") or {}).get("next_cursor")
            if not cursor and page >= (data.get("paging") or {}).get("pages", 0):
                return
        raise _LookupRefused


async def channel_id(client: SlackClient, name: str) -> str | None:
    """Return the id of the channel called ``name``; None if it is not listed or may not be."""
    found = await find_channel(client, name)
    return str(found["id"]) if isinstance(found, dict) else None


async def find_channel(client: SlackClient, name: str) -> dict[str, Any] | NotFound:
    """Return the channel of that name or id, as Slack lists it. Raises SlackCallFailed to retry later."""
    wanted = name.removeprefix("#")
    complete = True
    for kind in ("public_channel", "private_channel"):
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            try:
                data = await read_page(client, "conversations.list", types=kind, limit=_PAGE, cursor=cursor)
            except _LookupRefused:
                complete = False
                break
            for channel in data.get("channels") or []:
                if wanted in {channel.get("name"), channel.get("id")}:
                    return dict(channel)
            cursor = (data.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        else:
            complete = False
    return NotFound.ABSENT if complete else NotFound.UNKNOWN


class _LookupRefused(Exception):
    """A lookup that is refused, or that has too many pages."""


async def read_page(client: SlackClient, method: str, **arguments: Any) -> Mapping[str, Any]:
    """Read once. Raises SlackCallFailed for temporary failures and credentials, else _LookupRefused."""
    try:
        return (await client.call(method, **arguments)).data
    except SlackCallFailed as error:
        network = error.code is None and isinstance(error.outcome, Blocked)
        if error.is_temporary or error.code in CREDENTIALS or network:
            raise
        raise _LookupRefused from error


def _has_metadata(found: object, wanted: Mapping[str, Any]) -> bool:
    return (
        isinstance(found, dict)
        and found.get("event_type") == wanted["event_type"]
        and isinstance(found.get("event_payload"), dict)
        and wanted["event_payload"].items() <= found["event_payload"].items()
    )
