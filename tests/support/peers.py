"""Real programs that nobody of this project wrote, started on loopback for one test and ended after it."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "CMC_NOTIFY_PEERS_REQUIRED"
"""Set in CI: a peer that is missing fails the test there, instead of skipping it."""
NODE_MODULES = Path(__file__).parents[2] / ".venv" / "peers" / "node_modules"


def missing(what: str) -> NoReturn:
    """Skip the test with a plain line; fail it where every peer has to be there."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{what} is not installed, and {REQUIRED} is set")
    pytest.skip(f"{what} is not installed")


def program(name: str, *, elsewhere: Sequence[str] = ("/usr/sbin", "/usr/lib/postfix/sbin")) -> str:
    """Return where a program is; skip the test without it."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *elsewhere]))
    if found is None:
        missing(name)
    assert found
    return found


def node_module(name: str) -> Path:
    """Return the folder of an npm package that ``make peers`` installed; skip the test without it."""
    folder = NODE_MODULES / name
    if not folder.is_dir():
        missing(f"the npm package {name}")
    return folder


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def reachable(port: int, *, within: float = 15.0) -> None:
    """Wait until somebody listens on the port of this machine."""
    async with asyncio.timeout(within):
        while True:
            try:
                _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


@asynccontextmanager
async def running(
    command: Sequence[str], *, port: int, folder: Path, user: str | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that listens on ``port``, until the end of the block; its output goes to ``folder``/log."""
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=user, cwd=folder
        )
        try:
            try:
                await reachable(port)
            except TimeoutError:
                raise AssertionError((folder / "log").read_text(errors="replace")[-2000:]) from None
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(10):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def run(*command: str, cwd: Path | None = None) -> tuple[int, str]:
    """Run a program to its end; return its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=cwd
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")
