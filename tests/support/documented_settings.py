"""The documented keys of the config."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from cmc_notify.settings.base import SinkSettings
from cmc_notify.sinks.plugin import load_plugins

ROOT = Path(__file__).parents[2]


@cache
def sink_types() -> Mapping[str, type[SinkSettings]]:
    """The sink types that cmc-notify comes with."""
    return {name: plugin.settings for name, plugin in load_plugins().items()}


PRESETS = sorted(sink_types()["webhook"].presets)
