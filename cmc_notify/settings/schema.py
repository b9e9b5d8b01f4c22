"""The config file's JSON Schema (draft 2020-12), for editors: completion, hints, and typos underlined.

It describes what a file can hold. What needs the whole config (a route's sink exists, a file is there) only
``check`` can report.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from cmc_notify.settings.base import NAME, Part, SinkSettings
from cmc_notify.settings.config_types import secret_key
from cmc_notify.settings.controller import ControllerSettings
from cmc_notify.settings.root import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema(sink_types: Mapping[str, type[SinkSettings]]) -> dict[str, Any]:
    """Return the schema with these sink types."""
    presets = [preset for each in sink_types.values() for preset in each.presets.values()]
    models: list[type[Part]] = [Settings, ControllerSettings, *sink_types.values(), *presets]
    references, document = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Generator
    )
    definitions = document["$defs"]
    root = definitions.pop(references[Settings, "validation"]["$ref"].rpartition("/")[2])
    properties = root["properties"]
    properties["controllers"] = _named(references[ControllerSettings, "validation"])
    properties["sinks"] = _named(
        {
            "type": "object",
            "properties": {"type": {"enum": sorted(sink_types)}},
            "required": ["type"],
            "allOf": [
                {
                    "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                    "then": _by_preset(sink_types[name], references),
                }
                for name in sorted(sink_types)
            ],
        }
    )
    properties["routes"]["minItems"] = 1
    root["required"] = ["controllers", "sinks", "routes"]
    root |= {"title": "cmc-notify configuration", "$defs": definitions}
    return {"$schema": DIALECT, **root}


def _by_preset(plain: type[SinkSettings], references: Mapping[Any, JsonSchemaValue]) -> dict[str, Any]:
    """Return the schema of a sink type: without a preset, and with each."""
    if not plain.presets:
        return references[plain, "validation"]
    branches = [
        {
            "if": {"properties": {"preset": {"const": name}}, "required": ["preset"]},
            "then": references[preset, "validation"],
        }
        for name, preset in sorted(plain.presets.items())
    ]
    named = {"properties": {"preset": {"enum": sorted(plain.presets)}}, "required": ["preset"]}
    return {"if": named, "then": {"allOf": branches}, "else": references[plain, "validation"]}


def _named(value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "propertyNames": {"pattern": NAME},
        "additionalProperties": value,
        "minProperties": 1,
    }


class _Generator(GenerateJsonSchema):
    """Adds ``x_file`` for each secret ``x`` (either is enough), and lets sections be empty."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        cls = schema["cls"]
        properties = result.get("properties", {})
        for key, value in properties.items():
            if key not in result.get("required", ()) and ("$ref" in value or value.get("type") == "object"):
                properties[key] = {"anyOf": [value, {"type": "null"}]}
        for name, field in cls.model_fields.items() if issubclass(cls, Part) else ():
            key = field.alias or name
            file_key = secret_key(cls, name, field)
            if file_key is None or key not in properties:
                continue
            properties[file_key] = {"type": "string", "description": f"A file that holds {key}."}
            if key in result.get("required", ()):
                result["required"] = [other for other in result["required"] if other != key]
                either = {"anyOf": [{"required": [key]}, {"required": [file_key]}]}
                result.setdefault("allOf", []).append(either)
        return result

    def handle_invalid_for_json_schema(
        self,
        schema: core_schema.CoreSchema,  # noqa: ARG002  its signature
        error_info: str,  # noqa: ARG002  its signature
    ) -> JsonSchemaValue:
        """Allow anything for a plugin's type that JSON Schema can't describe; ``check`` decides."""
        return {}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave out defaults that are whole sections (their keys have their own) or masked secrets."""
        result = super().default_schema(schema)
        if isinstance(result.get("default"), dict) or isinstance(schema.get("default"), SecretStr):
            result = {key: value for key, value in result.items() if key != "default"}
        return result
