"""The webhook sink: it sends the event document, or the result of the user's own template, to a URL.

With a ``preset`` it sends requests of a vendor's API instead (``presets/``).
"""

from typing import Any

from cmc_notify.ports import Renderer, Sink
from cmc_notify.sinks.plugin import SinkPlugin
from cmc_notify.sinks.webhook.presets import PRESETS
from cmc_notify.sinks.webhook.sink import WebhookSettings, WebhookSink

__all__ = ["PLUGIN", "WebhookSettings", "WebhookSink", "build"]


def build(name: str, settings: Any, renderer: Renderer) -> Sink:
    """Build the sink. It opens nothing before the first message."""
    make = WebhookSink if settings.preset is None else PRESETS[settings.preset].build
    return make(name, settings, renderer)


PLUGIN = SinkPlugin(
    settings=WebhookSettings,
    build=build,
    extensions=("json",),
    presets={name: preset.extensions for name, preset in PRESETS.items()},
)
