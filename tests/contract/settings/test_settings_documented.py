"""The example config, docs/reference/configuration.md and the JSON Schema match the models, key by key."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cmc_notify.settings import Settings, document, load
from cmc_notify.settings.base import SinkSettings
from cmc_notify.settings.config_types import ConfigTypes, is_model
from cmc_notify.sinks.webhook.settings import EndpointSettings, PresetSettings
from support.documented_settings import PRESETS, ROOT, sink_types

EXAMPLE = ROOT / "config" / "cmc-notify.yaml"
DOCUMENT = ROOT / "docs" / "reference" / "configuration.md"

SMALL = """
controllers: {NAME: {url: https://cmc.example.net}}
sinks: {NAME: {type: console}}
routes: [{sinks: [NAME]}]
""".replace("NAME", "name")

ROW = re.compile(r"^\| `(?P<key>[\w.]+)`(?P<secret> 🔒)? \| (?P<default>.+?) \| .+ \|$", re.MULTILINE)


# --- the example ----------------------------------------------------------------------------------------


def uncommented(folder: Path) -> Path:
    """The example with every setting in use, and every file that it names in ``folder``."""
    text = re.sub(r"^( *)#(?! |-{2}|$)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE)
    for path in re.findall(r"_file: (/\S+)", text):
        here = folder / Path(path).name
        config_types = {
            "url": "https://hooks.example.net/x",
            "app_token": "xapp-1",
            "grafana": "grafana" * 4,
            "routing_key": "a1" * 16,
            "urls": "noc = json://127.0.0.1",
        }
        known = (secret for end, secret in config_types.items() if path.endswith(f"_{end}"))
        here.write_text(f"{next(known, 'whsec_' + 'c2VjcmV0' * 4)}\n")
        text = text.replace(path, str(here))
    (folder / "templates").mkdir(exist_ok=True)
    file = folder / "all.yaml"
    file.write_text(text)
    return file


def test_the_example_works_as_it_is() -> None:
    """It needs no other file and no variable."""
    settings = load(EXAMPLE, environ={}, sink_types=sink_types())
    assert list(settings.controllers) == ["lab"]
    assert list(settings.sinks) == ["screen"]


def test_every_commented_setting_of_the_example_is_real(tmp_path: Path) -> None:
    """With all of them in use the example is still a valid config."""
    settings = load(uncommented(tmp_path), environ={}, sink_types=sink_types())
    assert {"emea", "apac", "americas"} <= settings.controllers.keys()
    assert {sink.type for sink in settings.sinks.values()} == set(sink_types())
    assert len(settings.routes) == 2


def test_the_example_has_every_key(tmp_path: Path) -> None:
    """Whatever can be configured is in it at least once, as itself or as its file."""
    tree = document.parse(uncommented(tmp_path).read_text()).value
    used: dict[type[BaseModel], set[str]] = defaultdict(set)
    config_types = ConfigTypes(Settings, sink_types(), tree)

    def visit(value: Any, path: document.Path) -> None:
        for annotation in config_types.at(path):
            if is_model(annotation) and isinstance(value, dict):
                used[annotation] |= value.keys()
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(inner, dict | list):
                visit(inner, (*path, key))

    visit(tree, ())
    in_any_sink = set[str]().union(*(used[sink] for sink in sink_types().values()))
    skipped = {"proxy", "tls"}  # described in words, because mail takes no proxy
    webhook = sink_types()["webhook"]
    shortened = {"username", "password", "header", "value"}  # alternatives, named in the line above
    for model, keys in used.items():
        known = {field.alias or name for name, field in model.model_fields.items()}
        if issubclass(model, SinkSettings):
            known -= (in_any_sink | skipped) & SinkSettings.model_fields.keys()
            known -= webhook.model_fields.keys() - keys if issubclass(model, PresetSettings) else set()
            known -= {"preset"} if model.presets else set()  # it is what makes it another model
        if "method" in known and "header" in known:
            known -= shortened
        missing = {key for key in known if key not in keys and f"{key}_file" not in keys}
        assert not missing, f"{model.__name__}: {missing}"


def test_every_commented_default_of_the_example_is_one(tmp_path: Path) -> None:
    """If the example shows a section without alternatives, its values are the defaults."""
    settings = load(uncommented(tmp_path), environ={}, sink_types=sink_types())
    plain = load(EXAMPLE, environ={}, sink_types=sink_types())
    assert settings.store == plain.store
    assert settings.log == plain.log
    assert settings.shutdown_grace == plain.shutdown_grace
    assert settings.controllers["emea"].poll == plain.controllers["lab"].poll
    assert settings.controllers["emea"].overdue == plain.controllers["lab"].overdue
    assert settings.sinks["mail"].retry == plain.sinks["screen"].retry


# --- the document ---------------------------------------------------------------------------------------


def documented() -> tuple[dict[str, re.Match[str]], dict[str, dict[str, re.Match[str]]]]:
    """The rows of the general tables by whole path, and those of each sink type by its own key."""
    general: dict[str, re.Match[str]] = {}
    by_type: dict[str, dict[str, re.Match[str]]] = {}
    for section in re.split(r"^(?=##+ )", DOCUMENT.read_text(), flags=re.MULTILINE):
        rows = {row["key"]: row for row in ROW.finditer(section)}
        heading = re.match(r"### `(?:type|preset): ([\w-]+)`", section)
        if heading:
            by_type[heading[1]] = rows
        else:
            general |= rows
    return general, by_type


def leaves(config_types: ConfigTypes, path: document.Path = ()) -> Iterator[document.Path]:
    """Every key with a value of its own, below ``path``; a section that has a short form is one key."""
    models = [annotation for annotation in config_types.at(path) if is_model(annotation)]
    for model in models:
        for name, field in model.model_fields.items():
            below = (*path, field.alias or name)
            if below[-1] == "tls" and path[:1] == ("sinks",):
                yield below
                continue
            inner: document.Path = below
            if below in (("controllers",), ("sinks",), ("http", "tokens")):
                inner = (*below, "name")
            elif below == ("routes",):
                inner = (*below, 0)
            if any(is_model(annotation) for annotation in config_types.at(inner)):
                yield from leaves(config_types, inner)
            else:
                yield below


def key_of(path: document.Path) -> str:
    """A path as the document writes it."""
    return ".".join({"name": "NAME", "0": "N"}.get(str(key), str(key)) for key in path)


def test_every_key_is_documented_and_no_other() -> None:
    """The general tables have exactly the keys of the models."""
    general, _ = documented()
    assert set(general) == {key_of(path) for path in leaves(ConfigTypes(Settings, {}, {}))}


def test_every_key_of_every_sink_type_is_documented_and_no_other() -> None:
    """Each sink type's table has exactly what it takes beyond every sink's keys."""
    _, by_type = documented()
    for name, settings in sink_types().items():
        config_types = ConfigTypes(settings, {}, {})
        own = {key_of(path) for path in leaves(config_types)}
        own -= {key_of(path) for path in leaves(ConfigTypes(SinkSettings, {}, {}))} - {"tls"}
        own |= {"options"} if settings.presets else set()
        inherited = {key for key in own if key.startswith("tls") and name != "email"}
        own = {"tls" if key.startswith("tls.") else key for key in own - inherited}
        if name != "email":
            own -= {"tls"}
        assert set(by_type[name]) == own, name


@pytest.mark.parametrize("name", PRESETS)
def test_every_key_of_every_preset_is_documented_and_no_other(name: str) -> None:
    """Each preset's table has exactly what it takes beyond a webhook's keys, and ``url`` with its meaning."""
    _, by_type = documented()
    webhook = sink_types()["webhook"]
    own = {key_of(path) for path in leaves(ConfigTypes(webhook.presets[name], {}, {}))}
    assert own >= {key_of(path) for path in leaves(ConfigTypes(EndpointSettings, {}, {}))}
    assert set(by_type[name]) == {key for key in own if key.startswith("options.")} | {"url"}


def test_secrets_are_marked() -> None:
    """A 🔒 stands where an ``x_file`` exists, and nowhere else."""
    general, by_type = documented()
    config_types = ConfigTypes(Settings, sink_types(), {"sinks": {"name": {"type": "console"}}})
    for key, row in general.items():
        *parents, last = key.replace("NAME", "name").split(".")
        path = tuple(0 if part == "N" else part for part in parents)
        assert bool(row["secret"]) == (f"{last}_file" in config_types.keys(path)), key
    kinds = {**sink_types(), **sink_types()["webhook"].presets}
    for name, rows in by_type.items():
        config_types = ConfigTypes(kinds[name], {}, {})
        for key, row in rows.items():
            *parents, last = key.split(".")
            assert bool(row["secret"]) == (f"{last}_file" in config_types.keys(tuple(parents))), (name, key)


OPTIONAL = ("http.tokens.", "http.proxy_auth.")
"""Sections that are not there by default, and need more than one key."""


def variables(prefix: str, rows: Mapping[str, re.Match[str]]) -> Iterator[tuple[str, str]]:
    """Each documented default as a variable that sets it."""
    for key, row in rows.items():
        default = re.fullmatch(r"`(.+)`", row["default"])
        assert default or row["default"] in ("required", "none"), key
        if default and not key.startswith(OPTIONAL):
            path = re.sub(r"\bN\b", "0", f"{prefix}{key}").upper().replace(".", "__")
            yield f"CMC_NOTIFY_{path}", default[1]


def test_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    """Setting every one of them, each by its variable, changes nothing."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    general, _ = documented()
    environ = dict(variables("", general))
    assert len(environ) > 20
    plain = load(file, environ={}, sink_types=sink_types())
    assert load(file, environ=environ, sink_types=sink_types()) == plain


REQUIRED = {
    "console": "",
    "slack": "token: abc, channel: x",
    "webhook": "url: 'https://hooks.example.net'",
    "email": "host: localhost, from: a@example.net, to: b@example.net",
}
PRESET_REQUIRED = {
    "alertmanager": "url: 'http://alertmanager.example.net:9093'",
    "discord": "url: 'https://discord.com/api/webhooks/1/abc'",
    "jira": "url: 'https://example.atlassian.net', options: {project: NET}",
    "opsgenie": "options: {api_key: abc}",
    "pagerduty": "options: {routing_key: 0123456789abcdef0123456789abcdef}",
    "servicenow": "url: 'https://example.service-now.com'",
    "servicenow-incident": "url: 'https://example.service-now.com'",
    "teams": "url: 'https://example.logic.azure.com/workflows/abc'",
}


@pytest.mark.parametrize("name", [*REQUIRED, *PRESETS])
def test_documented_defaults_of_sink_types_are_the_defaults(tmp_path: Path, name: str) -> None:
    """The same for what each sink type and each preset takes beyond every sink's keys."""
    file = tmp_path / "small.yaml"
    kind = f"type: {name}, {REQUIRED[name]}" if name in REQUIRED else ""
    kind = kind or f"type: webhook, preset: {name}, {PRESET_REQUIRED[name]}"
    file.write_text(SMALL.replace("{type: console}", f"{{{kind}}}"))
    _, by_type = documented()
    plain = load(file, environ={}, sink_types=sink_types())
    environ = dict(variables("sinks.name.", by_type[name]))
    assert load(file, environ=environ, sink_types=sink_types()) == plain
