"""The Slack sink: a bot token (``bot``) or an incoming webhook (``incoming``), behind one ``type: slack``.

A rendered text is laid out as messages within Slack's limits (``layout``, ``limits``), in several parts if
one message can't hold it (``composer``). Slack's responses become outcomes (``error_codes``, ``client``).
"""

from typing import Any

from cmc_notify.ports import Renderer, Sink
from cmc_notify.sinks.plugin import SinkPlugin
from cmc_notify.sinks.slack.bot import BotSink
from cmc_notify.sinks.slack.incoming import IncomingSink
from cmc_notify.sinks.slack.settings import SlackSettings

__all__ = ["PLUGIN", "BotSink", "IncomingSink", "SlackSettings", "build"]


def build(name: str, settings: Any, renderer: Renderer) -> Sink:
    """Build the sink for ``settings`` (SlackSettings). It connects with the first message."""
    kind = IncomingSink if settings.webhook_url is not None else BotSink
    return kind(name, settings, renderer)


PLUGIN = SinkPlugin(SlackSettings, build, ("card", "mrkdwn", "txt"))
