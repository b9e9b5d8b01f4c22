"""Options that several commands take, and how a command with actions is made."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The config file; else CMC_NOTIFY_CONFIG, else the usual places."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ControllerOption = Annotated[
    str | None, typer.Option("--controller", help="One controller, by its name in the config.")
]


class _ListByDefault(TyperGroup):
    """A bare ``jobs``, also with options, is ``jobs list``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def single(function: Callable[..., None]) -> typer.Typer:
    """A command that does one thing."""
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return app


def actions(text: str) -> typer.Typer:
    """A command with actions, of which ``list`` is what it does by itself."""
    app = typer.Typer(cls=_ListByDefault, help=text, add_completion=False)
    app.callback()(lambda: None)
    return app
