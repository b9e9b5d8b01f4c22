"""Puts environment variables over the file: ``CMC_NOTIFY_`` + path joined by ``__``, upper or lower case.

A variable replaces the file's value at its path; a deeper path replaces a shallower one. For a list or a
mapping the text is YAML; a list position is a number. An empty variable counts as not set: ``${TOKEN:-}`` in
a compose file must not empty a key.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from cmc_notify.settings.config_types import ConfigTypes
from cmc_notify.settings.document import Path, Problem, parse

PREFIX = "CMC_NOTIFY_"
CONFIG_VARIABLE = "CMC_NOTIFY_CONFIG"

_SEPARATOR = re.compile(r"__(?!_)")
"""The first of three underscores belongs to the name before: no key begins with one."""

_SERVICE_LINK = re.compile(r"PORT|SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?")
"""Variables that Kubernetes sets in every pod next to a Service named cmc-notify."""


class Overlaid(NamedTuple):
    """The tree with the variables over it, the variable of each path, and the errors in them."""

    tree: dict[str, Any]
    variables: Mapping[Path, str]
    problems: tuple[Problem, ...]


def overlay(tree: dict[str, Any], environ: Mapping[str, str], config_types: ConfigTypes) -> Overlaid:
    """Put the variables over a file's tree. ``config_types`` must hold ``tree`` itself, which is changed."""
    variables: dict[Path, str] = {}
    problems: list[Problem] = []
    for path, name in _paths(environ):
        placed = _place(tree, path)
        if isinstance(placed, str):
            variables[path] = name
            problems.append(Problem(path, placed))
            continue
        variables[placed] = name
        value, problem_text = _read(environ[name], placed, config_types)
        if problem_text:
            problems.append(Problem(placed, problem_text))
            continue
        _set(tree, placed, value, variables)
    return Overlaid(tree, variables, tuple(problems))


def _paths(environ: Mapping[str, str]) -> list[tuple[Path, str]]:
    """Sort a path before the paths below it, and a sink's ``type`` before its other keys."""
    found: list[tuple[Path, str]] = []
    for name, text in environ.items():
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper == CONFIG_VARIABLE or not text.strip():
            continue
        rest = upper.removeprefix(PREFIX)
        if not _SERVICE_LINK.fullmatch(rest):
            found.append((tuple(_SEPARATOR.split(rest.lower())), name))
    return sorted(found, key=lambda item: (len(item[0]), item[0][-1] != "type", item))


def _place(tree: dict[str, Any], path: Path) -> Path | str:
    """Return the path with list positions as numbers (missing parents are created), or an error message."""
    here: Any = tree
    placed: list[str | int] = []
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(here, list):
            if not str(key).isdecimal() or int(key) > len(here):
                return f"has {len(here)} entries; write a position, counted from 0"
            key = int(key)  # noqa: PLW2901  the same key, as a list takes it
            if key == len(here):
                here.append({})
        placed.append(key)
        if last:
            break
        inner = here[int(key)] if isinstance(here, list) else here.get(key)
        if inner is None:
            inner = [] if str(path[depth + 1]).isdecimal() else {}
            here[key] = inner
        if not isinstance(inner, dict | list):
            return "is below a key that already has a plain value; unset one of the two"
        here = inner
    return tuple(placed)


def _read(text: str, path: Path, config_types: ConfigTypes) -> tuple[Any, str | None]:
    if config_types.collects(path):
        document = parse(text)
        for problem in document.problems:
            return None, f"{problem.message} (the variable's text is read as YAML)"
        return deepcopy(document.value), None
    if text.strip() in ("null", "~") and config_types.nullable(path):
        return None, None
    return text, None


def _set(tree: dict[str, Any], path: Path, value: Any, variables: Mapping[Path, str]) -> None:
    here: Any = tree
    for key in path[:-1]:
        here = here[key]
    last = path[-1]
    here[last] = value
    if isinstance(last, str) and isinstance(here, dict):
        # A secret from the environment replaces one from the file, whichever of its two keys each uses.
        other = last.removesuffix("_file") if last.endswith("_file") else f"{last}_file"
        if (*path[:-1], other) not in variables:
            here.pop(other, None)
