"""Test the JSON schema of the config."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmc_notify.settings import load
from cmc_notify.settings.schema import DIALECT, config_schema
from cmc_notify.sinks.webhook.ticket import TicketSettings
from support.documented_settings import PRESETS, ROOT, sink_types

# --- the schema -----------------------------------------------------------------------------------------


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping within a schema."""
    if isinstance(schema, dict):
        yield schema
        for inner in schema.values():
            yield from nodes(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from nodes(inner)


def test_the_schema_is_whole() -> None:
    """Every reference leads somewhere, every pattern is one, and the dialect is named."""
    schema = config_schema(sink_types())
    assert schema["$schema"] == DIALECT
    references = {node["$ref"] for node in nodes(schema) if isinstance(node.get("$ref"), str)}
    assert references
    assert references <= {f"#/$defs/{name}" for name in schema["$defs"]}
    for node in nodes(schema):
        if isinstance(node.get("pattern"), str):
            re.compile(node["pattern"])


def test_the_schema_offers_a_file_for_each_secret() -> None:
    """``x_file`` stands beside ``x``, and either satisfies a sink that needs it."""
    schema = config_schema(sink_types())
    webhook = schema["$defs"]["WebhookSettings"]
    assert {"url", "url_file"} <= webhook["properties"].keys()
    assert "url" not in webhook.get("required", ())
    assert {"anyOf": [{"required": ["url"]}, {"required": ["url_file"]}]} in webhook["allOf"]
    assert "headers_file" not in webhook["properties"]
    assert "token_file" in schema["$defs"]["HttpSettings"]["properties"]


def test_the_schema_lets_a_section_be_empty() -> None:
    """``http:`` with everything below it commented out is not underlined in an editor."""
    section = config_schema(sink_types())["properties"]["http"]
    assert section["anyOf"] == [{"$ref": "#/$defs/HttpSettings"}, {"type": "null"}]


def test_the_schema_shows_no_secret() -> None:
    """Neither a default nor its mask is in the place of a secret."""
    assert all(node.get("default") != "**********" for node in nodes(config_schema(sink_types())))
    assert "default" not in config_schema(sink_types())["$defs"]["StoreSettings"]["properties"]["url"]


def test_the_schema_takes_durations_as_people_write_them() -> None:
    """A text with a unit, or a number."""
    schema = config_schema(sink_types())
    forms = schema["$defs"]["PollSettings"]["properties"]["interval"]["anyOf"]
    assert {form["type"] for form in forms} == {"number", "string"}
    pattern = next(form["pattern"] for form in forms if form["type"] == "string")
    assert re.search(pattern, "200ms")
    assert not re.search(pattern, "5 minutes")


def test_the_schema_knows_the_sink_types() -> None:
    """Each installed type has its branch, and no other type is valid."""
    sinks = config_schema(sink_types())["properties"]["sinks"]["additionalProperties"]
    assert sinks["properties"]["type"]["enum"] == sorted(sink_types())
    assert [branch["if"]["properties"]["type"]["const"] for branch in sinks["allOf"]] == sorted(sink_types())


def test_the_schema_knows_the_presets() -> None:
    """A webhook with a preset takes that preset's keys, without one its own, and no other preset is valid."""
    sinks = config_schema(sink_types())["properties"]["sinks"]["additionalProperties"]
    [webhook] = [
        branch for branch in sinks["allOf"] if branch["if"]["properties"]["type"]["const"] == "webhook"
    ]
    then = webhook["then"]
    assert then["if"]["properties"]["preset"]["enum"] == PRESETS
    assert [branch["if"]["properties"]["preset"]["const"] for branch in then["then"]["allOf"]] == PRESETS
    definitions = config_schema(sink_types())["$defs"]
    assert {"routing_key", "routing_key_file"} <= definitions["PagerDutyOptions"]["properties"].keys()
    assert then["else"] == {"$ref": "#/$defs/WebhookSettings"}


# --- the page about tickets -----------------------------------------------------------------------------


def test_every_preset_has_a_working_config_on_the_page_about_tickets(tmp_path: Path) -> None:
    """Each example of docs/how-to/tickets.md is a valid config; together they show every ticket preset."""
    page = (ROOT / "docs" / "how-to" / "tickets.md").read_text()
    shown = set()
    for number, example in enumerate(re.findall(r"^```yaml\n(.+?)^```", page, re.MULTILINE | re.DOTALL)):
        secret = tmp_path / "secret"
        secret.write_text("a1" * 16)
        written = re.sub(r"_file: [^\s}]+", f"_file: {secret}", example)
        [name] = re.findall(r"^  (\w+):$", written, re.MULTILINE)
        file = tmp_path / f"{number}.yaml"
        controllers = "controllers: {emea: {url: 'https://cmc.example.net'}}"
        file.write_text(f"{controllers}\nroutes: [{{sinks: [{name}]}}]\n{written}")
        settings = load(file, environ={}, sink_types=sink_types()).sinks[name]
        assert settings.opens_tickets
        shown.add(getattr(settings, "preset", None))
    tickets = {
        name for name, preset in sink_types()["webhook"].presets.items() if issubclass(preset, TicketSettings)
    }
    assert shown == tickets
