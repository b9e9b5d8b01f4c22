"""``cmc-notify``: the command NAME lives in the module NAME beside this one, imported when it is asked for.

So ``--version`` waits for no database driver, and one broken command does not take the others with it.
"""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cmc_notify import __version__
from cmc_notify.cli.output import exit_with_error
from cmc_notify.errors import CmcNotifyError

COMMANDS = {
    "run": "Run the bridge until SIGTERM or SIGINT. SIGHUP reloads the config.",
    "check": "Validate the config, the templates and the routes.",
    "demo": "Show the bridge at work: a simulated controller, a real bridge, and what its receivers get.",
    "simulate": "Run a simulated controller, to try the bridge and your templates on.",
    "test": "Send one test notification, marked as such, through the real sink.",
    "preview": "Print exactly what would be sent; never sends.",
    "jobs": "Ask a controller for its jobs, and cancel one.",
    "features": "Ask a controller which features it can push.",
    "deliveries": "What went where, when, how often it was tried; and send again.",
    "failures": "What is failed now, and closing one by hand.",
    "silences": "What is not told for a while: list, add, and end early.",
    "actions": "What people did from chat, or were refused.",
    "status": "Controllers, open jobs, open failures and the outbox, at one look.",
    "schema": "Print the JSON Schema of the event document or of the config file.",
}
"""Name to what it does, as each module says it too."""


class _Commands(TyperGroup):
    """The commands, each imported when it is run; the list of them is known without."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=text) for name, text in COMMANDS.items()}
        self._listing = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        super().format_help(ctx, formatter)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self._listing or cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        return get_command(import_module(f"cmc_notify.cli.{cmd_name}").app)


app = typer.Typer(
    name="cmc-notify",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cmc-notify {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and end."
    ),
) -> None:
    """Tells people, once and with every reason, what a Riverbed CMC's configuration pushes did."""


def main() -> None:
    """The entry point: errors that the bridge raises on purpose end in one line, not in a traceback."""
    try:
        app()
    except CmcNotifyError as error:
        exit_with_error(error)
