"""``cmc-notify``: the command NAME is in the module NAME of this package, imported when it is run.

So ``--version`` does not load a database driver, and one broken command does not break the others.
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
    "check": "Check the config, the templates and the routes.",
    "demo": "Show the bridge at work: a simulated controller, a real bridge, and the messages it sends.",
    "simulate": "Run a simulated controller, to try the bridge and your templates.",
    "test": "Send one test notification, marked as a test, through a real sink.",
    "preview": "Print exactly what would be sent; send nothing.",
    "jobs": "List the jobs of a controller, show one, or cancel one.",
    "features": "List the features that a controller can push.",
    "deliveries": "Show deliveries and their attempts, and send them again.",
    "failures": "Show open failures, and close one by hand.",
    "silences": "List silences, add one, or end one early.",
    "links": "Say how links in messages work, or end all of them.",
    "sessions": "Show who is signed in, or end sessions.",
    "actions": "Show what people did from chat, or were refused.",
    "status": "Show controllers, open jobs, open failures and the outbox.",
    "schema": "Print the JSON Schema of the event document or of the config file.",
}
"""Help by command name; the same text is in each module."""


class _Commands(TyperGroup):
    """The commands, each imported when it is run; the list needs no import."""

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
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Notify people about configuration pushes of a Riverbed CMC: once, and with every error text."""


def main() -> None:
    """Run the command; an error of the bridge's own error classes prints one line, not a traceback."""
    try:
        app()
    except CmcNotifyError as error:
        exit_with_error(error)
