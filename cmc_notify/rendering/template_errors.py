"""Translates any error in a template: its name, the line, and what to write."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from jinja2 import TemplatesNotFound, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError, TemplateNotFound

from cmc_notify.errors import TemplateError
from cmc_notify.rendering.budget import Overspent
from cmc_notify.rendering.filters import FilterError, oneline, shorten

_MESSAGE = 300
"""Characters; an exception's text can hold a whole document."""

# What is wrong and what to write; the first kind that fits is used, so special kinds come first.
_MESSAGES: dict[type[Exception], str] = {
    TemplatesNotFound: "there is no such template, and no default; add the file or correct the sink's type",
    TemplateNotFound: "there is no template {!r} to include, import or extend; correct the name",
    TemplateSyntaxError: "{}; correct the syntax",
    SecurityError: "{}; templates run in a sandbox",
    UndefinedError: "{}; docs/reference/templates.md lists what a template gets",
    RecursionError: "it includes, extends or calls itself without end; write builtin/ before the name "
    "of a built-in template, and make sure that macros end",
    FilterError: "{}",
    Overspent: "{}; the plain message goes out instead",
    msgspec.DecodeError: "the result is not valid JSON: {}; write values as {{{{ value | json }}}}",
    UnicodeError: "{}; correct the file: templates are UTF-8",
}


def translate(error: Exception, wanted: str, folders: Sequence[Path]) -> TemplateError:
    """Return the TemplateError for any exception of loading or rendering ``wanted``."""
    file, line = template_position(error)
    if isinstance(error, TemplateSyntaxError):
        file, line = error.filename or file, error.lineno
    return TemplateError(_name(file, folders) if file else wanted, line, _message(error))


def template_position(error: Exception) -> tuple[str | None, int | None]:
    """Return file and line of the innermost template in the traceback, as Jinja rewrote it; or None, None."""
    found: tuple[str | None, int | None] = (None, None)
    trace = error.__traceback__
    while trace:
        if "__jinja_exception__" in trace.tb_frame.f_globals:
            found = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return found


def _name(file: str, folders: Sequence[Path]) -> str:
    for folder in folders:
        if Path(file).is_relative_to(folder):
            return str(Path(file).relative_to(folder))
    return file


def _message(error: Exception) -> str:
    text = shorten(oneline(error), _MESSAGE)
    for kind, message in _MESSAGES.items():
        if isinstance(error, kind):
            return message.format(text)
    return f"{type(error).__name__}: {text}"
