"""The presets by name. A new one is a module here, a line below, and a template folder of its name."""

from collections.abc import Mapping

from cmc_notify.sinks.webhook.preset import Preset
from cmc_notify.sinks.webhook.presets import pagerduty

PRESETS: Mapping[str, Preset] = {
    "pagerduty": pagerduty.PRESET,
}
