"""``cmc-notify``: every command in its own module, put together here."""

import typer

from cmc_notify import __version__
from cmc_notify.cli import demo, running
from cmc_notify.cli.common import end_with
from cmc_notify.errors import CmcNotifyError

app = typer.Typer(
    name="cmc-notify",
    help="Tells people, once and with every reason, what a Riverbed CMC's configuration pushes did.",
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


app.command()(running.run)
app.command()(demo.demo)


def main() -> None:
    """The entry point: errors that the bridge raises on purpose end in one line, not in a traceback."""
    try:
        app()
    except CmcNotifyError as error:
        end_with(error)
