"""The Jinja environment of one format: sandboxed and strict. It escapes every printed value, and counts the
time and memory of users' templates.

A template's own text is never escaped; every value that it prints is escaped once, for the format. The output
of blocks and macros is already escaped (Jinja marks it as Markup) and stays so when it is joined with other
text. Where Jinja itself would escape in another way, it escapes for HTML, which breaks no format.
"""

import io
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, Sequence, ValuesView
from pathlib import Path
from sys import getsizeof
from types import GeneratorType
from typing import Any

import msgspec
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    nodes,
    pass_context,
)
from jinja2.runtime import BlockReference, Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from cmc_notify.rendering import guards
from cmc_notify.rendering.bytecode_cache import TemplateBytecodeCache
from cmc_notify.rendering.code_generators import GuardedGenerator, TrustedGenerator
from cmc_notify.rendering.formats import Format
from cmc_notify.rendering.overspent_files import Spending

BUILTIN = "builtin/"
_UNWANTED = ("safe", "urlize", "xmlattr", "pprint")
"""Jinja's filters that would print outside text unescaped, turn it into links, or show private data."""
_CACHED = 400
"""Compiled templates: a template can ask for endless names."""
_LARGE = 65536
_LONGEST = 100_000
"""Characters of a user's template: a longer one takes seconds to compile."""


class BuiltinLoader(BaseLoader):
    """Loads ``builtin/<sink type>/<file>``: the built-in or a plugin's template, never the user's.

    A missing file is replaced as for a message: an event type's file by ``default``, a sink type's by
    ``shared``. So a user can extend any event type's template by its name.
    """

    def __init__(self, files: BaseLoader) -> None:
        self._files = files

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """Return the source of the first candidate that exists."""
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
    """Loads the templates of plugins: each folder serves only its own sink type."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._files = {kind: FileSystemLoader(folder) for kind, folder in folders.items()}

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """Return the source of ``<sink type>/<file>``, if that type's plugin has it."""
        files = self._files.get(template.partition("/")[0])
        if files is None:
            raise TemplateNotFound(template)
        return files.get_source(environment, template)


def candidates(name: str) -> list[str]:
    """Return the names to try for ``<sink type>/<event type>.<extension>.j2``, the best first."""
    folder, _, file = name.rpartition("/")
    pieces = file.rsplit(".", 2)
    if not folder or len(pieces) != 3 or pieces[2] != "j2":  # noqa: PLR2004  event type, extension, j2
        return [name]
    default = f"default.{pieces[1]}.j2"
    return list(dict.fromkeys((name, f"{folder}/{default}", f"shared/{default}")))


_PRINTING = (Macro, BlockReference)
_DATA = (GeneratorType, ItemsView, KeysView, ValuesView, map, reversed)
"""Lazy results of filters and methods."""


class FormatEnvironment(ImmutableSandboxedEnvironment):
    """An environment for the templates of one format."""

    code_generator_class = TrustedGenerator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(
        self,
        form: Format,
        dirs: Sequence[Path],
        plugins: Mapping[str, Path],
        builtin: Path,
        *,
        filters: dict[str, Callable[..., Any]],
        timezone: str,
        spending: Spending,
    ) -> None:
        shipped = ChoiceLoader([PluginLoader(plugins), FileSystemLoader(builtin)])
        super().__init__(
            autoescape=True,
            undefined=StrictUndefined,
            finalize=self._finalize,
            loader=ChoiceLoader([BuiltinLoader(shipped), FileSystemLoader(dirs), shipped]),
            auto_reload=False,
            bytecode_cache=TemplateBytecodeCache(f"{form.name} {timezone}", self._trusts),
            cache_size=_CACHED,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.form = form
        self._trusted = (builtin, *plugins.values())
        self._spending = spending
        del self.globals["lipsum"]
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

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        """Return the Python code of a template; every step of a user's is counted."""
        trusted = self._trusts(filename)
        kind = TrustedGenerator if trusted else GuardedGenerator
        code = io.StringIO()
        # Constants of a user's template can be large too: they are computed when it runs, and counted.
        kind(self, name, filename, code, defer_init=defer_init, optimized=trusted).visit(source)
        return code.getvalue()

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Return the template's tree. Raises TemplateSyntaxError for a user's template that is too long."""
        if len(source) > _LONGEST and not self._trusts(filename):
            raise TemplateSyntaxError(
                f"it is longer than {_LONGEST:,} characters; write a shorter one", 1, name, filename
            )
        return super()._parse(source, name, filename)

    def _trusts(self, filename: str | None) -> bool:
        return filename is not None and any(Path(filename).is_relative_to(folder) for folder in self._trusted)

    def step(self, filename: str, number: int) -> None:
        """Count the start of a body of a user's template that prints ``number`` things."""
        self._spending.enter(filename).step(number)

    def concat(self, parts: Iterable[str]) -> str:
        """Join the texts that templates printed."""
        pieces = parts if isinstance(parts, list) else list(parts)
        budget = self._spending.budget
        if budget is not None:
            budget.take(sum(map(getsizeof, pieces)))
        return "".join(pieces)

    def made(self, value: Any) -> Any:
        """Count a value that a user's template has made; a lazy one becomes a list now."""
        if isinstance(value, str):
            self._spending.now().take(getsizeof(value))
            return value
        if isinstance(value, _DATA):
            value = self._spending.now().collect(value)
        if isinstance(value, list | tuple | dict):
            self._spending.now().hold(value)
        return value

    def filtered(self, context: Context, name: str, value: Any, /, *args: Any, **named: Any) -> Any:
        """Apply ``value | name(…)`` of a user's template."""
        return self.call_filter(name, value, args, named, context)

    def call_filter(  # noqa: PLR0917  Jinja's own arguments
        self,
        name: str,
        value: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        context: Context | None = None,
        eval_ctx: nodes.EvalContext | None = None,
    ) -> Any:
        """Do as Jinja does, within the budget."""
        guards.filtering(self._spending.now(), name, value, args or (), kwargs or {})
        return self.made(super().call_filter(name, value, args, kwargs, context, eval_ctx))

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Do as Jinja does, within the budget. The output of macros and blocks is counted elsewhere."""
        if isinstance(called, _PRINTING):
            return context.call(called, *args, **kwargs)
        guards.calling(self._spending.now(), called, args, kwargs)
        return self.made(super().call(context, called, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return ``"…".format`` as a function that checks widths before it formats."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        template: str = value.__self__

        def checked(*args: Any, **kwargs: Any) -> str:
            guards.spelling(self._spending.now(), template, (*args, *kwargs.values()))
            return wrapped(*args, **kwargs)

        return checked

    def text(self, value: Any) -> str:
        """Return the value as text; a list is measured first. Raises UndefinedError if undefined."""
        if isinstance(value, str):
            if len(value) > _LARGE and self._spending.budget is not None:
                self._spending.budget.take(3 * len(value))
        elif not isinstance(value, int | float | StrictUndefined | None):
            budget = self._spending.now()
            budget.take(4 * budget.weigh(value))
        return str(value)

    def escaped(self, value: Any) -> Markup:
        """Return the value escaped for this format; escaped text stays as it is. Null is empty."""
        if isinstance(value, Markup):
            return value
        if type(value) is str and len(value) < _LARGE:  # as nearly all are
            return Markup(self.form.escape(value))  # noqa: S704  escaped by the format
        if value is None:
            return Markup("")
        if isinstance(value, bool) and self.form.name == "json":
            value = str(value).lower()
        return Markup(self.form.escape(self.text(value)))  # noqa: S704  escaped by the format

    def concatenate(self, values: Iterable[Any]) -> str:
        """Return ``a ~ b``: escaped if one of them already is; otherwise still plain text."""
        parts = list(values)
        if any(isinstance(part, Markup) for part in parts):
            return Markup(self.concat(map(self.escaped, parts)))  # noqa: S704  each part is escaped
        return self.concat(map(self.text, parts))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return True if a template may read it: all but private names of plain data (a faster check)."""
        return (
            attr[:1] != "_"
            if isinstance(obj, msgspec.Struct)
            else super().is_safe_attribute(obj, attr, value)
        )

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return ``a + b`` on text as for ``~``, and other operators within the budget."""
        if operator == "+" and (isinstance(left, Markup) or isinstance(right, Markup)):
            return self.concatenate((left, right))
        if isinstance(left, int | float) and isinstance(right, int | float) and operator == "+":
            return left + right
        guards.operating(self._spending.now(), operator, left, right)
        return self.made(super().call_binop(context, operator, left, right))

    # Because it takes the context, Jinja can't call it while compiling, where it would first escape
    # constants for HTML.
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
