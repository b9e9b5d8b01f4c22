"""How the bridge answers in Slack: in private, and in a message's thread. Outside text is escaped here.

Answers are a courtesy: one that Slack does not take is logged, and changes nothing of what was done.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from cmc_notify.chatops.payloads import Press
from cmc_notify.rendering.formats import mrkdwn, one_line
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.error_codes import NotTaken
from cmc_notify.sinks.slack.layout import section, sections

_log = structlog.get_logger(__name__)

LONGEST_WORDS = 1000
"""Characters of a controller's words in an answer."""
_LONGEST_FALLBACK = 1900
"""Characters, each of which may count as two, of what notifications show."""


def quoted(text: object) -> str:
    """Outside text on one line of bounded length, as Slack shows it and obeys nothing of it."""
    line = one_line(str(text))
    return mrkdwn(line if len(line) <= LONGEST_WORDS else f"{line[:LONGEST_WORDS]}…")


def payload(text: str) -> Mapping[str, Any]:
    """A message; ``text`` is mrkdwn, escaped already."""
    fallback = text if len(text) <= _LONGEST_FALLBACK else f"{text[:_LONGEST_FALLBACK]}…"
    return {"text": fallback, "blocks": [section(part) for part in sections(text.split("\n"))]}


async def tell_person(client: SlackClient, press: Press, text: str) -> None:
    """Only who pressed sees it, where the message is."""
    await _say(client, "chat.postEphemeral", press, text, user=press.person.id)


async def tell_thread(client: SlackClient, press: Press, text: str) -> None:
    """Everybody who follows the message's thread sees it."""
    more = {"thread_ts": press.ts, "unfurl_links": False, "unfurl_media": False}
    await _say(client, "chat.postMessage", press, text, **more)


async def _say(client: SlackClient, method: str, press: Press, text: str, **more: Any) -> None:
    try:
        await client.call(method, changes=True, channel=press.channel, **payload(text), **more)
    except NotTaken as error:
        _log.warning("chat.answer_failed", method=method, reason=str(error))
