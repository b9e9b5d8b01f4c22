"""``schema``: prints the JSON Schema (draft 2020-12) of the event document, or of the config for editors."""

from typing import Annotated, Any

import msgspec
import typer

from cmc_notify.cli.options import single
from cmc_notify.cli.output import print_json
from cmc_notify.core.events import Event
from cmc_notify.errors import ConfigError

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(
    what: Annotated[str, typer.Argument(help="event or config", metavar="[event|config]")] = "event",
) -> None:
    """Print the JSON Schema of the event document or of the config file."""
    if what == "event":
        print_json(event_schema())
    elif what == "config":
        print_json(_config_schema())
    else:
        raise ConfigError(f"there is no schema of {what!r}; write event or config")


def event_schema() -> dict[str, Any]:
    """Return the event schema. Known keys are always there; receivers must accept new ones."""
    document = msgspec.json.schema(Event)
    for definition in document["$defs"].values():
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    return {"$schema": DIALECT, "title": "cmc-notify event", **document}


def _config_schema() -> dict[str, Any]:
    from cmc_notify.settings.schema import config_schema  # noqa: PLC0415  the event schema needs no sinks
    from cmc_notify.sinks.plugin import load_plugins  # noqa: PLC0415  as above

    return config_schema({name: plugin.settings for name, plugin in load_plugins().items()})


app = single(schema)
