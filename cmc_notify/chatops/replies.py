"""Replies in Slack: to one person, or in the thread of a message. Outside text is escaped here.

If Slack does not accept a reply, that is logged; the action itself stays done.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from cmc_notify.chatops.payloads import Press
from cmc_notify.rendering.formats import mrkdwn, one_line
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.error_codes import SlackCallFailed
from cmc_notify.sinks.slack.layout import section, sections

_log = structlog.get_logger(__name__)

MAX_LINE_LENGTH = 1000
"""Characters of outside text in a reply."""
_MAX_FALLBACK_LENGTH = 1900
"""Characters of the text that notifications show; each may count as two."""


def escaped_line(text: object) -> str:
    """Return outside text as one line of bounded length; Slack shows it and interprets none of it."""
    line = one_line(str(text))
    return mrkdwn(line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]}…")


def payload(text: str) -> Mapping[str, Any]:
    """Return a message; ``text`` is mrkdwn and already escaped."""
    fallback = text if len(text) <= _MAX_FALLBACK_LENGTH else f"{text[:_MAX_FALLBACK_LENGTH]}…"
    return {"text": fallback, "blocks": [section(part) for part in sections(text.split("\n"))]}


async def reply_privately(client: SlackClient, press: Press, text: str) -> None:
    """Reply under the message; only the person who pressed sees it."""
    await _post(client, "chat.postEphemeral", press, text, user=press.person.id)


async def reply_in_thread(client: SlackClient, press: Press, text: str) -> None:
    """Reply in the thread of the message, for everybody who follows it."""
    more = {"thread_ts": press.ts, "unfurl_links": False, "unfurl_media": False}
    await _post(client, "chat.postMessage", press, text, **more)


async def _post(client: SlackClient, method: str, press: Press, text: str, **more: Any) -> None:
    try:
        await client.call(method, changes=True, channel=press.channel, **payload(text), **more)
    except SlackCallFailed as error:
        _log.warning("chat.reply_failed", method=method, reason=str(error))
