"""The webhook sink: the event document, or what a template of the user's own makes of it, to an address; or,
with a ``preset``, what a vendor's service wants to hear (``presets/``).
"""

from typing import Any

from cmc_notify.ports import Renderer, Sink
from cmc_notify.sinks.plugin import SinkPlugin
from cmc_notify.sinks.webhook.presets import PRESETS
from cmc_notify.sinks.webhook.sink import WebhookSettings, WebhookSink

__all__ = ["PLUGIN", "WebhookSettings", "WebhookSink", "build"]


def build(name: str, settings: Any, renderer: Renderer) -> Sink:
    """The sink of these settings; nothing is opened before the first message."""
    make = WebhookSink if settings.preset is None else PRESETS[settings.preset].build
    return make(name, settings, renderer)


PLUGIN = SinkPlugin(
    settings=WebhookSettings,
    build=build,
    extensions=("json",),
    presets={name: preset.extensions for name, preset in PRESETS.items()},
)
