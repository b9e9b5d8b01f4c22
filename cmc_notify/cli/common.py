"""What the commands share: the config option, how a list is printed, how an error ends the process."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cmc_notify.core.text import visible
from cmc_notify.errors import CmcNotifyError, ConfigError
from cmc_notify.settings import Settings, load
from cmc_notify.sinks.plugin import SinkPlugin, load_plugins
from cmc_notify.store import Store, open_store

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The config file; else CMC_NOTIFY_CONFIG, else the usual places."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

OK, FAILED, WRONG = 0, 1, 2
"""Exit codes."""

T = TypeVar("T")

Cell = str | int | float | None


def read_settings(config: Path | None) -> tuple[Settings, Mapping[str, SinkPlugin]]:
    """The validated config and the sink types that it may use. Raises ConfigError."""
    plugins = load_plugins()
    types = {name: plugin.settings for name, plugin in plugins.items()}
    return load(config, environ=os.environ, sink_types=types), plugins


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The store beside a running bridge, for short transactions."""
    store = await open_store(settings.store.url.get_secret_value(), clock=time.time, exclusive=False)
    try:
        yield store
    finally:
        await store.close()


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run one command's work to its end."""
    return asyncio.run(work)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Say what is wrong on standard error and end."""
    sys.stderr.write(f"{message}\n")
    raise SystemExit(code)


def end_with(error: CmcNotifyError) -> NoReturn:
    """End as the error deserves: 2 for the config, 1 for everything else."""
    if isinstance(error, ConfigError):
        fail("\n".join(f"error: {problem}" for problem in error.problems), WRONG)
    fail(f"error: {error}")


def print_json(document: Any) -> None:
    """One JSON document, indented, for programs and for people who pipe it."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, empty: str) -> None:
    """Rows for people; outside text is shown, never obeyed."""
    if not rows:
        sys.stdout.write(f"{empty}\n")
        return
    console = Console(soft_wrap=False)
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else visible(str(cell))) for cell in row))
    if not console.is_terminal:
        console = Console(width=max(console.measure(table).maximum, 80), color_system=None)
    console.print(table)
