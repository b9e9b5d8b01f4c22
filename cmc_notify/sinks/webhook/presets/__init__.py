"""The presets by name. A new preset is a module here, an entry below, and a template folder of its name."""

from collections.abc import Mapping

from cmc_notify.sinks.webhook.preset import Preset
from cmc_notify.sinks.webhook.presets import (
    alertmanager,
    discord,
    jira,
    opsgenie,
    pagerduty,
    servicenow,
    servicenow_incident,
    teams,
)

PRESETS: Mapping[str, Preset] = {
    "alertmanager": alertmanager.PRESET,
    "discord": discord.PRESET,
    "jira": jira.PRESET,
    "opsgenie": opsgenie.PRESET,
    "pagerduty": pagerduty.PRESET,
    "servicenow": servicenow.PRESET,
    "servicenow-incident": servicenow_incident.PRESET,
    "teams": teams.PRESET,
}
