"""The webhook sink: the event document, or what a template of the user's own makes of it, to an address."""

from typing import Any

from cmc_notify.ports import Renderer
from cmc_notify.sinks.plugin import SinkPlugin
from cmc_notify.sinks.webhook.settings import WebhookSettings
from cmc_notify.sinks.webhook.sink import WebhookSink

__all__ = ["PLUGIN", "WebhookSettings", "WebhookSink", "build"]


def build(name: str, settings: Any, renderer: Renderer) -> WebhookSink:
    """The sink of these settings; nothing is opened before the first message."""
    return WebhookSink(name, settings, renderer)


PLUGIN = SinkPlugin(settings=WebhookSettings, build=build, extensions=("json",))
