"""How commands speak: tables for people, JSON for programs, errors in one line on standard error.

Imports little, so that ``--help`` and ``--version`` answer at once.
"""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cmc_notify.core.text import visible
from cmc_notify.errors import CmcNotifyError, ConfigError

OK, FAILED, WRONG = 0, 1, 2
"""Exit codes."""

_WIDEST = 100_000
"""Columns: in a file or a pipe nothing is broken to fit a screen."""

_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What JSON lets stand and a terminal obeys (C1, direction marks) or nothing can write (surrogates)."""

Cell = str | int | float | None


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Say what is wrong on standard error and end."""
    sys.stderr.write(f"{visible(message)}\n")
    raise SystemExit(code)


def end_with(error: CmcNotifyError) -> NoReturn:
    """End as the error deserves: 2 for the config, 1 for everything else."""
    if isinstance(error, ConfigError):
        fail("\n".join(f"error: {problem}" for problem in error.problems), WRONG)
    fail(f"error: {error}")


def warn(message: str) -> None:
    """One line on standard error; the command goes on."""
    sys.stderr.write(f"warning: {visible(message)}\n")


def say(*lines: str) -> None:
    """Lines for people; outside text is shown, never obeyed."""
    sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))


def print_json(document: Any) -> None:
    """One JSON document, indented, for programs and for people who pipe it.

    What a terminal would obey is escaped: the document means the same.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False)
    sys.stdout.write(_OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, empty: str) -> None:
    """Rows for people; outside text is shown, never obeyed. The first column is what other commands take:
    it is never cut or broken.
    """
    if not rows:
        say(empty)
        return
    console = Console(soft_wrap=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else visible(str(cell))) for cell in row))
    if not console.is_terminal:
        wide = console.options.update(width=_WIDEST)
        console = Console(width=console.measure(table, options=wide).maximum, color_system=None)
    console.print(table)


def print_facts(facts: Sequence[tuple[str, Cell]]) -> None:
    """One thing's facts, a line each; those that are None are left out."""
    known = [(name, str(value)) for name, value in facts if value is not None]
    width = max(len(name) for name, _ in known) + 2
    for name, value in known:
        first, *rest = value.splitlines() or [""]
        say(f"{name + ':':<{width}}{first}", *(" " * width + line for line in rest))
