"""Common options of commands, and builders for commands with and without actions."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The config file. Default: CMC_NOTIFY_CONFIG, then the standard paths."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ControllerOption = Annotated[
    str | None, typer.Option("--controller", help="One controller, by its name in the config.")
]


class _ListByDefault(TyperGroup):
    """Runs ``jobs`` without an action, with or without options, as ``jobs list``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def single(function: Callable[..., None]) -> typer.Typer:
    """Return a command without actions."""
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return app


def actions(text: str) -> typer.Typer:
    """Return a command with actions; ``list`` is the default action."""
    app = typer.Typer(cls=_ListByDefault, help=text, add_completion=False)
    app.callback()(lambda: None)
    return app
