"""``demo``: a night of pushes, watched by a real bridge, with every message that it sends."""

import asyncio
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cmc_notify.cli.common import run_async
from cmc_notify.cli.options import single
from cmc_notify.cli.output import FAILED, fail
from cmc_notify.core.text import visible
from cmc_notify.demo import SPEED, Arrival, Demo, Piece, Summary

NAME = "cmc-notify"
MAX_LINES = 12
"""The most lines shown of one message; the message itself is complete."""
_NARROW, _WIDE = 80, 110
_STYLES = {"headline": "bold", "plain": "", "label": "cyan", "quote": "dim", "link": "underline"}
_COLORS = {"chat": "magenta", "tickets": "yellow", "mail": "blue"}


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Play the scenario to its end, print a summary, and exit.")
    ] = False,
    speed: Annotated[
        float, typer.Option("--speed", min=1, max=1000, help="Seconds of the scenario in one real second.")
    ] = SPEED,
) -> None:
    """Show the bridge at work: a simulated controller, a real bridge, and the messages it sends."""
    console = _console()
    summary = run_async(_play(console, once=once, speed=speed))
    if summary and not summary.passed:
        fail("error: the messages do not match what happened at the controller; see the checks above")


async def _play(console: Console, *, once: bool, speed: float) -> Summary | None:
    begun = time.monotonic()

    def show(arrival: Arrival) -> None:
        _show(console, arrival, time.monotonic() - begun)

    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    async with Demo(show, speed=speed) as stage:
        console.print(Text.assemble("Dashboard  ", (stage.dashboard, "bold underline")))
        if not once:
            beside = f"{own_command()} status --config {shlex.quote(str(stage.config))}"
            console.print(f"Beside it  {beside}", soft_wrap=True)
        console.print()
        end = asyncio.create_task(stopped.wait())
        played = asyncio.create_task(stage.play())
        broken = asyncio.create_task(stage.bridge_ends())
        tasks = (end, played, broken)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if broken.done():
                broken.result()
            if played.done():
                _show_summary(console, played.result())
            if not once and not end.done():
                console.print("\nThe scenario has ended; the dashboard stays until Ctrl-C.")
                await asyncio.wait((end, broken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if once and stopped.is_set():
            raise SystemExit(FAILED)  # stopped before the end: nothing was checked
        return played.result() if once else None


def own_command() -> str:
    """Return the command that starts this cmc-notify: its name if PATH finds it, else its path."""
    own = Path(sys.executable).parent / NAME
    if Path(sys.argv[0]).name == NAME:
        own = Path(sys.argv[0]).absolute()
    if not own.exists():
        return f"{shlex.quote(sys.executable)} -m cmc_notify"
    found = shutil.which(NAME)
    if found and Path(found).absolute() == own:
        return NAME
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        return Console(highlight=False, markup=False, emoji=False, width=_WIDE, color_system=None)
    console.width = max(_NARROW, min(console.width, _WIDE))
    return console


def _show(console: Console, arrival: Arrival, seconds: float) -> None:
    color = _COLORS[arrival.receiver]
    console.print(
        Text.assemble(
            (f"{seconds:5.1f} s  ", "dim"),
            (f"{arrival.receiver:<8}", f"bold {color}"),
            (arrival.title, "dim"),
        )
    )
    # A line that says "1 more" would not be shorter than that line.
    shown = arrival.lines if len(arrival.lines) == MAX_LINES + 1 else arrival.lines[:MAX_LINES]
    lines = [Text.assemble(*(part for piece in line for part in _drawn(piece))) for line in shown]
    if left := len(arrival.lines) - len(shown):
        lines.append(Text(f"… {left} more lines in the message", style="italic dim"))
    for line in lines:
        line.truncate(console.width - 11, overflow="ellipsis")
        console.print(Text.assemble(("         │ ", color), line), soft_wrap=True)
    console.print()


def _drawn(piece: Piece) -> Iterator[tuple[str, str]]:
    """Yield a piece with its style; a link with its address, without the signature after the ``?``."""
    if piece.url is None:
        yield visible(piece.text), _STYLES[piece.style]
        return
    yield visible(piece.text), f"link {piece.url} underline"
    address, asked, _ = piece.url.partition("?")
    yield f"  {visible(address)}{'?…' if asked else ''}", "dim"


def _show_summary(console: Console, summary: Summary) -> None:
    console.rule("summary", characters="─")
    table = Table.grid(padding=(0, 3))
    events = Table("event", "number", box=None, pad_edge=False, header_style="bold")
    for kind, number in summary.events.items():
        events.add_row(kind, f"{number:>6}")
    receivers = Table("receiver", "sent", "left", "failed", box=None, pad_edge=False, header_style="bold")
    for depth in summary.deliveries:
        receivers.add_row(depth.sink, str(depth.sent), str(depth.pending), str(depth.dead))
    receivers.add_row()
    receivers.add_row("failures notified", str(summary.failed))
    receivers.add_row("recovered", str(summary.recovered))
    table.add_row(events, receivers)
    console.print(table)
    console.print()
    for check in summary.checks:
        mark, style = ("✔", "bold green") if check.holds else ("✘", "bold red")
        console.print(Text.assemble((f"{mark} ", style), check.text))


app = single(demo)
