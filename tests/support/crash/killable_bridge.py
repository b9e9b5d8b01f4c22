"""Real bridges that die where they are told to: ``cmc-notify run``, with a hook at every boundary.

``python killable_bridge.py`` imports the program once and forks a bridge for each order that it reads, since
importing takes longer than most of what is tried here. It answers each order, a line of JSON, with two lines:
the bridge's process id, and, once that has ended, its exit status as ``os.waitpid`` gives it. The forked
process runs the real command line to its end, and dies by SIGKILL alone.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import msgspec
from msgspec import Struct

from cmc_notify import boundaries, cli
from cmc_notify.boundaries import Boundary
from cmc_notify.sinks.plugin import load_plugins


class Order(Struct, frozen=True):
    """One bridge to start. ``folder`` holds ``cmc-notify.yaml``; its log goes to ``bridge.log`` there."""

    folder: str
    boundary: Boundary | None = None
    """Where it dies, once the file ``armed`` says at which passing; None: it has no hook at all."""


def killer(folder: Path, boundary: Boundary) -> Callable[[Boundary], None]:
    """A hook that kills this process at the passing that ``armed`` names, counted from its appearance.

    It leaves the boundary's name in ``died``, so that no other death can be taken for this one.
    """
    armed, passed = folder / "armed", 0

    def hook(reached: Boundary) -> None:
        nonlocal passed
        if reached is not boundary or not armed.exists():
            return
        passed += 1
        if passed == int(armed.read_text()):
            armed.unlink()
            (folder / "died").write_text(reached)
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def run(order: Order) -> NoReturn:
    """Become the bridge."""
    folder = Path(order.folder)
    log = os.open(folder / "bridge.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDWR)
    for ours, theirs in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(ours, theirs)
    if order.boundary:
        boundaries.install(killer(folder, order.boundary))
    sys.argv = ["cmc-notify", "run", "--config", str(folder / "cmc-notify.yaml")]
    cli.main()
    sys.exit()


def preload() -> None:
    """Import what a bridge imports; nothing of it opens anything."""
    for name in ("cmc_notify.cli.run", "aiosqlite"):
        import_module(name)
    load_plugins()
    gc.freeze()


def serve() -> None:
    """One bridge at a time, until there are no more orders."""
    preload()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(msgspec.json.decode(line, type=Order))
        print(child, flush=True)  # noqa: T201  the answer
        print(os.waitpid(child, 0)[1], flush=True)  # noqa: T201  the answer


if __name__ == "__main__":
    serve()
