"""Explains validation errors to the config's author: the key, what is wrong, what to write instead.

No message repeats a value, except those of our own validators. A key is shown only as far as it looks like a
key: ``{password:abc}`` lacks a space, which makes a password part of a key.
"""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cmc_notify.settings.config_types import ConfigTypes, child, has, value_at
from cmc_notify.settings.document import Path, Problem
from cmc_notify.settings.suggestions import did_you_mean

_OWN_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*): (.+)", re.DOTALL)
_KEY = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


def shown(path: Path) -> str:
    """Return a path in its written form: ``routes.0.match.event``."""
    return ".".join(shown_key(key) for key in path)


def shown_key(key: str | int) -> str:
    """Return a key, cut where it stops looking like one."""
    text = str(key)
    if _KEY.fullmatch(text):
        return text
    found = _KEY.match(text)
    return f"{found[0] if found else ''}…"


def explain(error: ValidationError, tree: Any, config_types: ConfigTypes) -> Iterable[Problem]:
    """Return one problem for each path; the messages of a path's alternatives are joined."""
    messages: dict[Path, list[str]] = {}
    for details in error.errors(include_input=False, include_url=False):
        path = _path(details, tree)
        message = _message(details, path, tree, config_types)
        own = _OWN_KEY.fullmatch(message)
        if own and own[1] in config_types.keys(path):
            path, message = (*path, own[1]), own[2]
        kept = messages.setdefault(path, [])
        if message not in kept:
            kept.append(message)
    return [Problem(path, "; or ".join(kept)) for path, kept in messages.items()]


def _path(details: ErrorDetails, tree: Any) -> Path:
    """Return the error's path, without the labels of union members that pydantic adds."""
    path: list[str | int] = []
    location = details["loc"]
    for index, key in enumerate(location):
        if key == "[key]":
            break
        if has(tree, key):
            path.append(key)
            tree = child(tree, key)
        elif index == len(location) - 1 and details["type"] == "missing":
            path.append(key)
    return tuple(path)


def _message(details: ErrorDetails, path: Path, tree: Any, config_types: ConfigTypes) -> str:
    kind, context = details["type"], details.get("ctx", {})
    value = value_at(tree, path)
    message = details["msg"].removeprefix("Input ")
    match kind:
        case "missing":
            either = f" (or {path[-1]}_file)" if f"{path[-1]}_file" in config_types.keys(path[:-1]) else ""
            message = f"is missing; add `{path[-1]}: …`{either}{_known(config_types.keys(path))}"
        case "extra_forbidden":
            message = unknown_key(str(path[-1]), config_types.keys(path[:-1]))
        case "value_error":
            message = str(context["error"])
        case "literal_error" | "enum":
            choices = re.findall(r"'([^']+)'", context["expected"])
            hint = did_you_mean(value, choices) if isinstance(value, str) else None
            message = f"is not valid; write one of {', '.join(choices)}{f'; {hint}' if hint else ''}"
        case "string_type" if isinstance(value, int | float):
            message = "must be text; put the value in quotes"
        case "model_type" | "dict_type" | "model_attributes_type":
            message = (
                f"must be a mapping; write `key: value` on lines of its own{_known(config_types.keys(path))}"
            )
        case _ if kind in _TEXTS:
            message = _TEXTS[kind].format(**context)
    return message


_WHOLE = "is not a whole number; write digits only, for example 4"
_NUMBER = "is not a number; write for example 30, or 30s where a duration belongs"
_TRUTH = "is neither true nor false; write one of them"
_TEXTS = {
    "string_type": "must be one text; write it in quotes",
    "string_pattern_mismatch": (
        "is not a valid name; write lowercase letters, digits and single underscores, a letter first"
    ),
    "tuple_type": "must be a list; write for example [a, b]",
    "list_type": "must be a list; write for example [a, b]",
    "pattern_regex": "is not a regular expression; write a backslash before each special character",
    "too_short": "is empty; write at least one entry",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "greater_than": "is too small; write more than {gt:g}",
    "greater_than_equal": "is too small; write at least {ge:g}",
    "less_than": "is too large; write less than {lt:g}",
    "less_than_equal": "is too large; write at most {le:g}",
}
"""By pydantic's error type; any other keeps pydantic's own words, which hold no value."""


def unknown_key(key: str, known: tuple[str, ...]) -> str:
    """Return the message for a key that is not known at its path."""
    if ":" in key or " " in key:
        return "is not a key; write `key: value`, with a space after the colon"
    return f"unknown key; {did_you_mean(key, known) or f'remove it{_known(known)}'}"


def _known(keys: tuple[str, ...]) -> str:
    return f" (known here: {', '.join(keys)})" if keys else ""
