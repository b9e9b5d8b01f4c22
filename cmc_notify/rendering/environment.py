"""The Jinja environment of one format: sandboxed, strict, escaping whatever a template prints.

A template's own text is never escaped; every value that it prints is, once, for the format. What blocks
and macros made is already escaped (Jinja marks it as Markup) and is joined with other text without
losing that. Where Jinja itself would escape by other ways, it escapes for HTML, which no format can be
broken with.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
    nodes,
    pass_context,
)
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from cmc_notify.rendering.formats import Format

BUILTIN = "builtin/"
_UNWANTED = ("safe", "urlize", "xmlattr")
"""Filters of Jinja's that would let outside text through, or make links of it."""


class BuiltinLoader(BaseLoader):
    """``builtin/<sink type>/<file>`` is our own or a plugin's template, whatever the user's folder holds.

    Lookup falls back as it does for a message: another event type's file to ``default``, and a sink
    type's to ``shared``; so a user can extend any event type's template by its name.
    """

    def __init__(self, files: BaseLoader) -> None:
        self._files = files

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """The source of the first candidate that exists."""
        if not template.startswith(BUILTIN):
            raise TemplateNotFound(template)
        name = template.removeprefix(BUILTIN)
        for candidate in candidates(name):
            try:
                return self._files.get_source(environment, candidate)
            except TemplateNotFound:
                continue
        raise TemplateNotFound(template)


class PluginLoader(BaseLoader):
    """The templates that third-party sinks bring along: each folder speaks for its own sink type only."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._files = {kind: FileSystemLoader(folder) for kind, folder in folders.items()}

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """The source of ``<sink type>/<file>``, where that type's plugin has it."""
        files = self._files.get(template.partition("/")[0])
        if files is None:
            raise TemplateNotFound(template)
        return files.get_source(environment, template)


def candidates(name: str) -> list[str]:
    """Where to look for ``<sink type>/<event type>.<extension>.j2``, the best first."""
    folder, _, file = name.rpartition("/")
    pieces = file.rsplit(".", 2)
    if not folder or len(pieces) != 3 or pieces[2] != "j2":  # noqa: PLR2004  event type, extension, j2
        return [name]
    default = f"default.{pieces[1]}.j2"
    return list(dict.fromkeys((name, f"{folder}/{default}", f"shared/{default}")))


class _Generator(CodeGenerator):
    """Lets ``~`` escape for the format where it joins escaped and other text."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  Jinja's name
        self.write("environment.concatenate((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class FormatEnvironment(ImmutableSandboxedEnvironment):
    """An environment for the templates of one format."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+"})

    def __init__(
        self,
        form: Format,
        dirs: Sequence[Path],
        plugins: Mapping[str, Path],
        builtin: Path,
        filters: dict[str, Callable[..., Any]],
    ) -> None:
        shipped = ChoiceLoader([PluginLoader(plugins), FileSystemLoader(builtin)])
        super().__init__(
            autoescape=True,
            undefined=StrictUndefined,
            finalize=self._finalize,
            loader=ChoiceLoader([BuiltinLoader(shipped), FileSystemLoader(dirs), shipped]),
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.form = form
        for unwanted in _UNWANTED:
            del self.filters[unwanted]
        self.filters.update(filters)
        self.filters.update(
            {
                "e": self.escaped,
                "escape": self.escaped,
                "forceescape": lambda value: self.escaped(str(value)),
                "json": self._json,
                "tojson": self._json,
                "join": self._join,
            }
        )

    def escaped(self, value: Any) -> Markup:
        """The value as text that is right in this format; what is already escaped stays. Null is empty."""
        if isinstance(value, Markup):
            return value
        if value is None:
            return Markup("")
        if isinstance(value, bool) and self.form.name == "json":
            value = str(value).lower()
        # An undefined value raises in str().
        return Markup(self.form.escape(str(value)))  # noqa: S704  escaped by the format

    def concatenate(self, values: Iterable[Any]) -> str:
        """``a ~ b``: escaped only where one of them already is; otherwise still plain text."""
        parts = list(values)
        if any(isinstance(part, Markup) for part in parts):
            return Markup("").join(map(self.escaped, parts))
        return "".join(map(str, parts))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Plain data holds nothing to hide but private names; Jinja's own questions take half of all time."""
        return (
            attr[:1] != "_"
            if isinstance(obj, msgspec.Struct)
            else super().is_safe_attribute(obj, attr, value)
        )

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """``a + b`` on text, as for ``~``."""
        if isinstance(left, Markup) or isinstance(right, Markup):
            return self.concatenate((left, right))
        return super().call_binop(context, operator, left, right)

    # With the context among its arguments Jinja can't call it while compiling, where it would escape
    # constants for HTML first.
    @pass_context
    def _finalize(self, _context: Context, value: Any) -> Markup:
        return self.escaped(value)

    def _json(self, value: Any) -> str:
        if isinstance(value, StrictUndefined):
            str(value)  # raises, and says what is undefined
        text = msgspec.json.encode(value, enc_hook=str).decode()
        return Markup(text) if self.form.name == "json" else text  # noqa: S704  a whole JSON value

    def _join(self, values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
        parts: list[Any] = []
        for value in values:
            if parts:
                parts.append(separator)
            parts.append(value if attribute is None else self.getattr(value, attribute))
        return self.concatenate(parts)
