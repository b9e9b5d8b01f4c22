"""Output of commands: tables for people, JSON for programs, errors in one line on standard error.

Imports little, so that ``--help`` and ``--version`` are fast.
"""

import json
import re
import sys
from collections.abc import Collection, Sequence
from itertools import zip_longest
from typing import Any, NoReturn

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cmc_notify.core.text import visible
from cmc_notify.errors import CmcNotifyError, ConfigError

OK, FAILED, WRONG = 0, 1, 2
"""Exit codes."""

MAX_CELL = 120
"""Characters of an error text in a list; ``--json`` has the complete text."""

_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON allows, but terminals interpret (C1, direction marks) or can't write (surrogates)."""

Cell = str | int | float | None


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Print the message on standard error and exit."""
    sys.stderr.write(f"{visible(message)}\n")
    raise SystemExit(code)


def exit_with_error(error: CmcNotifyError) -> NoReturn:
    """Print the error and exit: 2 for an error in the config, 1 for every other error."""
    if isinstance(error, ConfigError):
        fail("\n".join(f"error: {problem}" for problem in error.problems), WRONG)
    fail(f"error: {error}")


def warn(message: str) -> None:
    """Print a warning on standard error; the command continues."""
    sys.stderr.write(f"warning: {visible(message)}\n")


def note(message: str) -> None:
    """Print a line on standard error about something that is right, but may surprise."""
    sys.stderr.write(f"note: {visible(message)}\n")


def print_lines(*lines: str) -> None:
    """Print lines for people; control characters of outside text are shown, not sent to the terminal."""
    sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))


def print_json(document: Any) -> None:
    """Print one JSON document, indented.

    Characters that a terminal would interpret are escaped; the document means the same.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False)
    sys.stdout.write(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, empty: str, below: Collection[str] = ()
) -> None:
    """Print rows for people, with ``empty`` if there are none.

    The first column is what other commands take as an argument: it is never cut or broken. On a screen that
    is too narrow, the columns of ``below`` get their own line under the row. In a file or a pipe, each row
    without line breaks is one line.
    """
    if not rows:
        print_lines(empty)
        return
    cells = [["" if cell is None else visible(str(cell)) for cell in row] for row in rows]
    lines = _aligned([[*columns], *cells])
    console = Console(soft_wrap=False)
    if not console.is_terminal or max(map(cell_len, lines)) <= console.width:
        print_lines(*lines)
    elif below:
        _print_two_lines(columns, cells, below, console.width)
    else:
        _print_folded(columns, cells, console)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with aligned columns, without spaces at the end."""
    broken = [[cell.splitlines() or [""] for cell in row] for row in rows]
    widths = [max(cell_len(line) for row in broken for line in row[place]) for place in range(len(rows[0]))]
    lines = []
    for row in broken:
        for parts in zip_longest(*row, fillvalue=""):
            padded = (
                f"{part}{' ' * (width - cell_len(part))}" for part, width in zip(parts, widths, strict=True)
            )
            lines.append("  ".join(padded).rstrip())
    return lines


def _print_two_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], below: Collection[str], width: int
) -> None:
    """Print the columns of ``below`` on a line under the others; only the last of them is cut."""
    above = [place for place, name in enumerate(columns) if name not in below]
    under = [place for place, name in enumerate(columns) if name in below]
    first, *lines = _aligned([[row[place].replace("\n", " ") for place in above] for row in [columns, *rows]])
    print_lines(first)
    for line, row in zip(lines, rows, strict=True):
        print_lines(line)
        *kept, last = (row[place].replace("\n", " ") for place in under)
        start = "  ".join(["", *kept])
        whole = f"{start}  {last}".rstrip()
        if cell_len(whole) > width and last:
            room = max(0, width - cell_len(start) - 3)
            whole = f"{start}  {set_cell_size(last, room).rstrip()}…"
        if whole.strip():
            print_lines(whole)


def _print_folded(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def brief(text: str | None) -> str | None:
    """Return the beginning of a text for a list: its first line, as far as it fits; ``…`` marks a cut."""
    if text is None:
        return None
    first, _, rest = text.strip().partition("\n")
    if len(first) > MAX_CELL:
        return f"{first[:MAX_CELL].rstrip()}…"
    return f"{first.rstrip()} …" if rest else first


def print_facts(facts: Sequence[tuple[str, Cell]]) -> None:
    """Print facts, one line each; those that are None are left out."""
    known = [(name, str(value)) for name, value in facts if value is not None]
    width = max(len(name) for name, _ in known) + 2
    for name, value in known:
        first, *rest = value.splitlines() or [""]
        print_lines(f"{name + ':':<{width}}{first}", *(" " * width + line for line in rest))
