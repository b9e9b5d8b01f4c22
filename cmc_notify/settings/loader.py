"""Reads :class:`Settings` from a file and the environment, or reports every problem with its position."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PlainValidator, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from cmc_notify.errors import ConfigError
from cmc_notify.settings import document, environment
from cmc_notify.settings.base import Name, SinkSettings, settings_class
from cmc_notify.settings.config_types import ConfigTypes, value_at
from cmc_notify.settings.document import Problem
from cmc_notify.settings.files import Digests, digests, named_files
from cmc_notify.settings.references import reference_problems, ticket_fallback_problems
from cmc_notify.settings.root import Settings
from cmc_notify.settings.routes import MatchSettings, RouteSettings
from cmc_notify.settings.suggestions import closest
from cmc_notify.settings.validation_errors import explain, shown

SEARCHED = (Path("config/cmc-notify.yaml"), Path("/etc/cmc-notify/cmc-notify.yaml"))


class _Places(NamedTuple):
    """The file, lines and variables in which the config was written."""

    file: Path | None
    lines: Mapping[document.Path, int]
    variables: Mapping[document.Path, str]


def find_config(environ: Mapping[str, str]) -> Path | None:
    """Return the file that ``CMC_NOTIFY_CONFIG`` names, else the first usual one that exists, else None."""
    named = environ.get(environment.CONFIG_VARIABLE, "").strip()
    if named:
        return Path(named)
    return next((path for path in SEARCHED if path.is_file()), None)


@dataclass(frozen=True)
class Loaded:
    """A config as it was read, and the files (secrets, certificates) that it names."""

    settings: Settings
    files: Digests = field(repr=False)
    """Taken before the files were read: a file that changes in that moment differs from this."""
    _source: "_Source" = field(repr=False)

    def reread_files(self) -> "Loaded":
        """Return the same config, from the same text and variables, with the present content of its files.

        Raises ConfigError like :func:`read_config`.
        """
        return _build(self._source)


def load(
    path: Path | None, *, environ: Mapping[str, str], sink_types: Mapping[str, type[SinkSettings]]
) -> Settings:
    """Return only the settings of what :func:`read_config` reads."""
    return read_config(path, environ=environ, sink_types=sink_types).settings


def read_config(
    path: Path | None, *, environ: Mapping[str, str], sink_types: Mapping[str, type[SinkSettings]]
) -> Loaded:
    """Read and validate the whole config; with ``path`` None, from the usual files.

    Raises ConfigError with all problems, one line each: file and line, key, what is wrong, what to write.
    No line holds a secret.
    """
    file = path or find_config(environ)
    return _build(_Source(file, _text(file) if file else "", dict(environ), dict(sink_types)))


class _Source(NamedTuple):
    """Everything that a config is made of, except the files that it names."""

    file: Path | None
    text: str
    environ: Mapping[str, str]
    sink_types: Mapping[str, type[SinkSettings]]


def _build(source: _Source) -> Loaded:
    file, text, environ, sink_types = source
    tree, lines, problems = _parsed(file, text) if file else ({}, {}, [])
    config_types = ConfigTypes(Settings, sink_types, tree)
    overlaid = environment.overlay(tree, environ, config_types)
    if file is None and not overlaid.variables:
        raise ConfigError(_nothing_found())
    problems += overlaid.problems
    if file is not None:
        _resolve(tree, file.absolute().parent)
    files = digests(named_files(tree))
    loaded: Settings | None = None
    try:
        loaded = _loaded_type(tree, sink_types)()
    except ValidationError as error:
        problems += explain(error, tree, config_types)
    problems += reference_problems(*_parts(tree))
    if loaded is not None:
        problems += ticket_fallback_problems(loaded.sinks)
    if loaded is None or problems:
        places = _Places(file, lines, overlaid.variables)
        raise ConfigError(*(_line(problem, places) for problem in _sorted(problems, places)))
    # As plain Settings, so that two loads of one config are equal.
    settings = Settings.model_construct(loaded.model_fields_set, **dict(loaded))
    return Loaded(settings, files, source)


def _nothing_found() -> str:
    searched = " nor ".join(str(path) for path in SEARCHED)
    return (
        f"no config file: neither {searched} exists and no CMC_NOTIFY_… variable is set; "
        "give one with --config or CMC_NOTIFY_CONFIG"
    )


def _text(file: Path) -> str:
    """Return the file's text. Raises ConfigError if it can't be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: is not UTF-8 text; save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{file}: can't be read: {reason}; correct the path or its permissions") from None


def _parsed(file: Path, text: str) -> tuple[dict[str, Any], Mapping[document.Path, int], list[Problem]]:
    """Return the text's tree, lines and problems. Raises ConfigError if there is no mapping to work with."""
    parsed = document.parse(text)
    problems = list(parsed.problems)
    if parsed.value is None and problems:
        raise ConfigError(*(_line(problem, _Places(file, {}, {})) for problem in problems))
    if not isinstance(parsed.value, dict | None):
        raise ConfigError(f"{file}:1: must be a mapping; write controllers:, sinks:, routes:, …")
    return parsed.value or {}, parsed.lines, problems


def _resolve(tree: Any, folder: Path) -> None:
    """Make paths of files and folders relative to the config file, wherever the bridge was started."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            _resolve(value, folder)
        elif isinstance(key, str) and key.endswith(("_file", "_dir")) and isinstance(value, str) and value:
            tree[key] = str(folder / value)


class _TreeSource(PydanticBaseSettingsSource):
    """The file with the environment over it, in the form of pydantic-settings."""

    def __init__(self, settings_cls: type[BaseSettings], tree: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._tree = tree

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  its signature
        """Return one field of the tree."""
        return self._tree.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._tree


def _loaded_type(tree: dict[str, Any], sink_types: Mapping[str, type[SinkSettings]]) -> type[Settings]:
    """Return a Settings class that reads this tree, each sink by the type that it names."""

    class LoadedSettings(Settings):
        sinks: dict[Name, Annotated[SinkSettings, PlainValidator(partial(_sink, sink_types))]] = Field(
            default={}
        )

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (_TreeSource(settings_cls, tree),)

    return LoadedSettings


def _sink(sink_types: Mapping[str, type[SinkSettings]], value: object) -> SinkSettings:
    known = ", ".join(sorted(sink_types))
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping with a type; write for example `type: …`, one of {known}")  # noqa: TRY004  pydantic wants ValueError
    name = value.get("type")
    if name is None:
        raise ValueError(f"type: is missing; write one of {known}")
    if not isinstance(name, str) or name not in sink_types:
        raise ValueError(f"type: no such sink type; {_remedy(str(name), sink_types)}")
    return settings_class(sink_types[name], value).model_validate(value)


def _remedy(name: str, sink_types: Mapping[str, type[SinkSettings]]) -> str:
    """Return what to write for an unknown type: a vendor's name is often a preset of a type."""
    presets = {preset: kind for kind, model in sink_types.items() for preset in model.presets}
    found = closest(name, [*sink_types, *presets])
    if found in presets:
        return f"write `type: {presets[found]}` with `preset: {found}`"
    installed = f"(installed: {', '.join(sorted(sink_types))})"
    return f'did you mean "{found}"? {installed}' if found else f"write one that is installed {installed}"


def _parts(
    tree: dict[str, Any],
) -> tuple[list[str], dict[str, str | None], dict[int, RouteSettings], frozenset[int]]:
    """Return the parts whose references are checked, as far as they can be read."""
    sections = {key: tree.get(key) for key in ("controllers", "sinks", "routes")}
    controllers, sinks, routes = sections.values()
    fallbacks: dict[str, str | None] = {}
    for name, sink in (sinks if isinstance(sinks, dict) else {}).items():
        fallback = sink.get("fallback") if isinstance(sink, dict) else None
        fallbacks[name] = fallback if isinstance(fallback, str) else None
    written = dict(enumerate(routes if isinstance(routes, list) else []))
    sound = {index: route for index, value in written.items() if (route := _route(value)) is not None}
    return (
        list(controllers) if isinstance(controllers, dict) else [],
        fallbacks,
        {index: sound.get(index) or _names(value) for index, value in written.items()},
        frozenset(written.keys() - sound.keys()),
    )


def _route(value: Any) -> RouteSettings | None:
    try:
        return RouteSettings.model_validate(value)
    except ValidationError:
        return None


def _names(route: Any) -> RouteSettings:
    """Return only the names in an invalid route, so that they are checked as well."""
    match = value_at(route, ("match",))
    return RouteSettings.model_construct(
        match=MatchSettings.model_construct(controller=_texts(value_at(match, ("controller",)))),
        sinks=_texts(value_at(route, ("sinks",))),
    )


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(items) if all(isinstance(item, str) for item in items) else ()


def _sorted(problems: Iterable[Problem], places: _Places) -> list[Problem]:
    """Return the problems in the file's order, each once."""
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda problem: problem.line or _line_of(problem.path, places)[0] or 0)


def _line_of(path: document.Path, places: _Places) -> tuple[int | None, str | None]:
    """Return the line of a path or of its nearest parent, or the variable that it came from."""
    prefixes = [path[:length] for length in range(len(path), -1, -1)]
    # A variable replaces everything below its path, so the file's values there no longer count.
    for prefix in prefixes:
        if prefix in places.variables:
            return None, places.variables[prefix]
    for prefix in prefixes:
        if prefix in places.lines and (prefix or not places.variables):
            return places.lines[prefix], None
        # The file has nothing this near; a part that only the environment makes has a variable below it.
        below = (
            name for known, name in places.variables.items() if prefix and known[: len(prefix)] == prefix
        )
        if (variable := next(below, None)) is not None:
            return None, variable
    return None, None


def _line(problem: Problem, places: _Places) -> str:
    line, variable = (problem.line, None) if problem.line else _line_of(problem.path, places)
    key = shown(problem.path)
    if variable:
        return f"{variable} ({key}): {problem.message}"
    place = f"{places.file}:{line}" if line and places.file else str(places.file or "environment")
    return f"{place}: {key}: {problem.message}" if key else f"{place}: {problem.message}"
