"""Stores that fail under a real bridge: it says why, goes on by itself where it can, and loses nothing."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cmc_notify.simulator import Simulator
from cmc_notify.simulator.receiver import Receiver
from support.bridge_process import BridgeProcess
from support.store_faults import (
    config,
    fail_jobs,
    in_trouble,
    named,
    readiness,
    told,
    waiting,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def remount(disk: Path, mode: str) -> None:
    """Make it read-only (``ro``) or writable (``rw``)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte on it, whoever else writes there meanwhile; the file to remove again."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


# --- at the start ---------------------------------------------------------------------------------------


async def test_a_folder_that_is_none(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """A path that can't be made is waited for; SIGHUP with another store.url is an end of it, too."""
    (tmp_path / "plain").write_text("no folder")
    settings = config(sim, receiver, f"sqlite:///{tmp_path}/plain/store.db")
    async with waiting(tmp_path, settings, "plain") as process:
        process.configure(config(sim, receiver))
        os.kill(process.pid, signal.SIGHUP)
        await process.wait(lambda log: bool(named(log, "bridge.started")))
        await told(receiver, 2)
        assert not named(process.log, "bridge.reload_partial")


async def test_sigterm_while_it_waits(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """A bridge that waits for its store ends at once, with 0."""
    (tmp_path / "plain").write_text("no folder")
    process = BridgeProcess(tmp_path, config(sim, receiver, f"sqlite:///{tmp_path}/plain/store.db"))
    await process.start("store.unavailable")
    begun = time.monotonic()
    assert await process.stop() == 0
    assert time.monotonic() - begun < 5
    assert named(process.log, "bridge.stopped")
    assert "Traceback" not in str(process.log)


async def test_a_file_that_is_no_store(tmp_path: Path, sim: Simulator, receiver: Receiver) -> None:
    """A corrupt file is named; replaced by a good one, the bridge goes on, and keeps what the file knows."""
    store = tmp_path / "store.db"
    process = BridgeProcess(tmp_path, config(sim, receiver))
    await process.start()
    await told(receiver, 2)
    await process.drained()
    assert await process.stop() == 0
    good = store.read_bytes()
    store.write_bytes(b"this was a store once" * 1000)
    async with waiting(tmp_path, config(sim, receiver), "not a database.*restore a backup") as process:
        (tmp_path / "backup").write_bytes(good)
        (tmp_path / "backup").replace(store)
        await process.wait(lambda log: bool(named(log, "bridge.started")))
        fail_jobs(sim, 1)
        await told(receiver, 3)


@needs_root
async def test_a_disk_full_at_the_first_start(
    small_disk: Path, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """Where not even an empty store finds room, the bridge waits for some."""
    ballast = fill(small_disk)
    settings = config(sim, receiver, f"sqlite:///{small_disk}/store.db")
    async with waiting(tmp_path, settings, "free space on its disk") as process:
        ballast.unlink()
        await process.wait(lambda log: bool(named(log, "bridge.started")))
        await told(receiver, 2)


@needs_root
async def test_a_disk_that_can_only_be_read_at_the_start(
    small_disk: Path, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """A file system mounted read-only is named, and waited for."""
    remount(small_disk, "ro")
    settings = config(sim, receiver, f"sqlite:///{small_disk}/store.db")
    async with waiting(tmp_path, settings, "file system that can be written") as process:
        remount(small_disk, "rw")
        await process.wait(lambda log: bool(named(log, "bridge.started")))
        await told(receiver, 2)


@needs_root
async def test_a_disk_that_fills_up(
    small_disk: Path, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """While there is no room nothing is told; with room again everything is, once."""
    process = BridgeProcess(tmp_path, config(sim, receiver, f"sqlite:///{small_disk}/store.db"))
    try:
        await process.start()
        await told(receiver, 2)
        ballast = fill(small_disk)
        fail_jobs(sim, 5, text="x" * 15_000)
        async with in_trouble(process, "free space on its disk"):
            pass
        ballast.unlink()
        await told(receiver, 7)
        await readiness(process, "ready\n")
        assert await process.stop() == 0
    finally:
        await process.kill()


async def test_a_file_that_is_damaged_while_it_runs(
    tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """The damage is named and the bridge lives on, unready; with a backup a new start tells what is left."""
    store = tmp_path / "store.db"
    process = BridgeProcess(tmp_path, config(sim, receiver))
    try:
        await process.start()
        await told(receiver, 2)
        assert await process.stop() == 0
        backup = store.read_bytes()
        await process.start()
        await process.polls(2)
        with closing(sqlite3.connect(store)) as direct:
            direct.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with store.open("r+b") as file:
            file.write(b"\xff" * len(backup))
        fail_jobs(sim, 1)
        async with in_trouble(process, "restore a backup"):
            pass
        assert await process.stop() == 0
        for name in ("store.db-wal", "store.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        store.write_bytes(backup)
        await process.start()
        await told(receiver, 3)
        assert await process.stop() == 0
    finally:
        await process.kill()
