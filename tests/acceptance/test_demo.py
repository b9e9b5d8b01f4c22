"""The demo, as a newcomer runs it."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from support.command_line import environment


async def demo(folder: Path, *options: str) -> asyncio.subprocess.Process:
    """A real ``demo`` process whose temporary files go into ``folder``."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cmc_notify", "demo", *options),
        env=environment() | {"TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def left_in(folder: Path) -> list[Path]:
    """Return the present files."""
    return list(folder.iterdir())


@pytest.mark.timeout(120)
async def test_once_plays_the_night_and_checks_it(tmp_path: Path) -> None:
    """``--once`` ends with 0 after every check held, and leaves nothing behind."""
    process = await demo(tmp_path, "--once", "--speed", "300")
    out, err = await process.communicate()
    text = out.decode()
    assert (process.returncode, err.decode()) == (0, ""), text[-2000:]
    assert text.startswith("Dashboard  http://127.0.0.1:")
    assert "Beside it" not in text  # it would be gone before anybody could type it
    assert "All details  http://127.0.0.1:" in text
    assert "signature verified" in text
    assert "#netops, updated" in text
    assert "#netops, in the thread" in text
    assert text.count("✔") == 7
    assert "✘" not in text
    assert left_in(tmp_path) == []


@pytest.mark.timeout(120)
async def test_it_shows_something_soon_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    """The address comes first, a notification follows, and Ctrl-C ends it all with 0."""
    process = await demo(tmp_path)
    assert process.stdout
    first = (await process.stdout.readline()).decode()
    assert first.startswith("Dashboard")
    hint = (await process.stdout.readline()).decode().split()
    assert hint[:2] == ["Beside", "it"]
    asked = await asyncio.create_subprocess_exec(
        *hint[2:], env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, _ = await asked.communicate()
    assert asked.returncode == 0
    assert output.startswith(b"controller")
    async with asyncio.timeout(60):
        while b"#netops" not in (line := await process.stdout.readline()):
            assert line, "the demo ended"
    assert left_in(tmp_path)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    assert left_in(tmp_path) == []
