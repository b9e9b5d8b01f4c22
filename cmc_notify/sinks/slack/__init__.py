"""The Slack sink: a bot token (``bot``) or an incoming webhook (``incoming``), behind one ``type: slack``.

A rendered text is laid out as messages within Slack's limits (``layout``, ``limits``), in several parts
where one message can't hold it (``composing``); Slack's answers become outcomes (``answers``, ``client``).
"""

from typing import Any

from cmc_notify.ports import Renderer, Sink
from cmc_notify.sinks.plugin import SinkPlugin
from cmc_notify.sinks.slack.bot import BotSink
from cmc_notify.sinks.slack.incoming import IncomingSink
from cmc_notify.sinks.slack.settings import SlackSettings

__all__ = ["PLUGIN", "BotSink", "IncomingSink", "SlackSettings", "build"]


def build(name: str, settings: Any, renderer: Renderer) -> Sink:
    """The sink that ``settings`` (SlackSettings) ask for; connects with the first message."""
    kind = IncomingSink if settings.webhook_url is not None else BotSink
    return kind(name, settings, renderer)


PLUGIN = SinkPlugin(SlackSettings, build, ("card", "mrkdwn", "txt"))
