"""Reads YAML text as plain values, each with its line. No error message repeats any of the text.

The scalars are those of YAML 1.2's core schema: ``on``, ``yes``, ``12:30`` and ``007`` are texts here, not
the booleans and numbers of YAML 1.1. A key given twice is an error; the last one does not win.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

Path = tuple[str | int, ...]
"""A value's position: keys and list positions from the top."""

_MOST_NODES = 100_000
"""A limit: a file of nested aliases would otherwise grow without end."""


class Problem(NamedTuple):
    """An error: where it is (``line``, 1-based, where only that is known), what is wrong, what to write."""

    path: Path
    message: str
    line: int | None = None


class Document(NamedTuple):
    """A parsed text: its value (None if empty), the line of each path, and its errors."""

    value: Any
    lines: Mapping[Path, int]
    problems: tuple[Problem, ...]


class _Loader(yaml.SafeLoader):
    """Finds a scalar's tag by YAML 1.2's core schema, and keeps merge keys."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  the base declares its type


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def parse(text: str) -> Document:
    """Read one YAML document. Never raises: errors are in ``problems``."""
    reader = _Reader()
    try:
        node = yaml.compose(text, Loader=_Loader)
        value = reader.value(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        message, mark = _explained(error)
        return Document(None, {}, (Problem((), message, mark.line + 1 if mark else None),))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"has the control character U+{ord(text[error.position]):04X}; remove it"
        return Document(None, {}, (Problem((), message, line),))
    except RecursionError:
        return Document(None, {}, (Problem((), "is nested too deeply; write fewer levels"),))
    return Document(value, MappingProxyType(reader.lines), tuple(reader.problems))


_MESSAGES = (
    ("while scanning a quoted scalar", "a quote that begins here is never closed; close it"),
    ("unknown escape", "a backslash in double quotes has a meaning in YAML; use single quotes"),
    ("undefined alias", "a value begins with * here; put it in quotes"),
    ("\\t' that cannot start", "here is a tab, but only spaces are allowed; indent with spaces"),
    ("that cannot start any token", "a value begins with a special character here; put it in quotes"),
    (
        "mapping values are not allowed",
        "there is a second `: ` in one line, or the line is indented too far; use quotes, or indent less",
    ),
    ("expected ',' or '}'", "a { before this is not closed, or a comma is missing; write {key: value, …}"),
    ("expected ',' or ']'", "a [ before this is not closed, or a comma is missing; write [a, b, …]"),
    ("expected <block end>", "this line's indentation does not fit the lines above; line it up"),
    ("could not find expected ':'", "this line, or the one before, has no `: `; write `key: value`"),
    ("expected a single document", "a second document begins here (---); keep one"),
    ("duplicate anchor", "an anchor (&) is given twice; if a value begins with &, put it in quotes"),
)
"""The parser's words and ours instead: its own can quote the text, and so a secret."""


def _explained(error: yaml.MarkedYAMLError) -> tuple[str, yaml.Mark | None]:
    parser_message = f"{error.context} {error.problem}"
    for parser_words, message in _MESSAGES:
        if parser_words in parser_message:
            # The parser finds an open quote at the end of the file; the line where it begins helps more.
            mark = (
                error.context_mark
                if parser_words == parser_message[: len(parser_words)]
                else error.problem_mark
            )
            return f"is not valid YAML: {message}", mark or error.problem_mark
    remedy = "check this line and the one before for indentation, quotes and brackets"
    return f"is not valid YAML: it can't be read here; {remedy}", error.problem_mark or error.context_mark


class _Reader:
    """Turns nodes into values, and collects lines and problems."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []
        self._count = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._count += 1
        if self._count > _MOST_NODES or node in self._open:
            if not any(known.message.startswith("has too many values") for known in self.problems):
                self.problems.append(
                    Problem(path, "has too many values (do aliases repeat?); write fewer", line)
                )
            return None
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag.endswith(":merge"):
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(path, "a key must be plain text; write `key: value`", line))
                continue
            key = str(key_node.value)
            if key in first_lines:
                message = f"is given twice, first in line {first_lines[key]}; keep one"
                self.problems.append(Problem((*path, key), message, line))
                continue
            first_lines[key] = line
            self.lines[*path, key] = line
            result[key] = self.value(value_node, (*path, key))
        for other in merged:
            self._merge(other, path, result)
        return result

    def _merge(self, node: yaml.Node, path: Path, into: dict[str, Any]) -> None:
        """Add the keys of ``<<: *base`` that the mapping does not have itself."""
        base = self.value(node, path)
        if not isinstance(base, dict):
            line = node.start_mark.line + 1
            self.problems.append(Problem(path, "<< needs a mapping; write `<<: *name`", line))
            return
        for key, value in base.items():
            into.setdefault(key, value)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        text = str(node.value)
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str" | "merge":
                return text
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if re.fullmatch(r"[-+]?[0-9]{1,4000}", text):
                return int(text)
            case "float" if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?", text):
                return float(text)
        line = node.start_mark.line + 1
        self.problems.append(
            Problem(path, "begins with !, which is a tag in YAML; put the value in quotes", line)
        )
        return None
