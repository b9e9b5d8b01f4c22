"""What the contract tests of the Slack bot share: a sink as the application builds it, what people see."""

import html
import re
from typing import Any

from cmc_notify.rendering import Renderer
from cmc_notify.simulator.slack import SlackServer
from cmc_notify.simulator.slack_messages import SlackMessage
from cmc_notify.simulator.slack_rules import refusal
from cmc_notify.sinks.slack import PLUGIN, BotSink
from cmc_notify.sinks.slack.limits import violations

URL = "https://bridge.example.net/events/1?expires=1&signature=abc"
RENDERER = Renderer()
"""Templates are compiled once for all tests."""
MANY = tuple(f"error {number} " + "x" * 500 for number in range(200))


def sink_for(slack: SlackServer, **more: Any) -> BotSink:
    """A sink built as the application builds it."""
    given = {"type": "slack", "token": slack.token, "channel": "#netops", "api_url": slack.api_url, **more}
    sink = PLUGIN.build("chat", PLUGIN.settings.model_validate(given), RENDERER)
    assert isinstance(sink, BotSink)
    return sink


def unescaped(message: SlackMessage) -> str:
    """Everything that a reader sees of a message, sections one after the other."""
    return html.unescape("\n".join(message.texts))


def everything(slack: SlackServer, *, thread_only: bool = False) -> str:
    """What stands in the channel, in threads and in shared files."""
    posted = [message for message in slack.messages if message.thread_ts or not thread_only]
    shown = [unescaped(message) for message in posted]
    files = [(file.content or b"").decode() for file in slack.files if file.channel]
    return "\n".join([*shown, *files]).replace("\u200b", "")


def assert_harmless(slack: SlackServer) -> None:
    """Nothing but our own links is markup, and each version of each message is within the limits."""
    for message in slack.messages:
        for raw in message.versions if not message.files else []:
            assert violations(raw) == []
            assert refusal(raw) is None
            sections = [block["text"] for block in raw["blocks"] if block["type"] == "section"]
            assert all(text["verbatim"] for text in sections), "else Slack looks for mentions in plain text"
        for text in [message.text, *message.texts]:
            markup = re.findall(r"<[^>]*>", text)
            assert all(found.startswith(f"<{URL.replace('&', '&amp;')}|") for found in markup)
