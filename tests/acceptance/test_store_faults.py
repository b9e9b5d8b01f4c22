"""Stores that fail under a real bridge: it says why, goes on by itself where it can, and loses nothing."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from sqlalchemy import make_url

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver
from support.bridge_process import BridgeProcess, Log
from support.postgres import PostgresServer, postgres_server

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
LINES_PER_SECOND = 30
"""Far less than a loop without a pause would log, and more than polls five times a second do."""
TRIES = 3


def config(sim: Simulator, receiver: Receiver, store: str | None = None) -> dict[str, Any]:
    """One controller, polled five times a second, and one receiver of everything."""
    poll = {"interval": "200ms", "idle_interval": "200ms"}
    made: dict[str, Any] = {
        "controllers": {"emea": {"url": sim.url, "first_run": "all", "poll": poll}},
        "sinks": {
            "hook": {"type": "webhook", "url": receiver.url, "retry": {"initial": "200ms", "max": "1s"}}
        },
        "routes": [{"sinks": ["hook"]}],
        "shutdown_grace": "3s",
    }
    return made | {"store": {"url": store}} if store else made


def fail_jobs(sim: Simulator, count: int, text: str = "no route") -> None:
    """So many failed jobs more."""
    for _ in range(count):
        job = sim.jobs.add(feature_ids=[3], site_ids=[1])
        job.start()
        job.finish("Failed", error_text=text)


def named(log: list[Log], event: str) -> list[Log]:
    """The log's lines of one kind."""
    return [line for line in log if line.get("event") == event]


async def page(process: BridgeProcess, path: str) -> tuple[int, str]:
    """Status and text of a page."""
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{process.port}{path}") as answer:
        return answer.status, await answer.text()


async def readiness(process: BridgeProcess, wanted: str, *, within: float = 20) -> None:
    """Wait until ``/readyz`` says something; it is asked anew whenever the log grows, and now and then."""
    said = ""
    try:
        async with asyncio.timeout(within):
            while wanted not in said:
                said = (await page(process, "/readyz"))[1]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"/readyz said {said!r} to the end, not {wanted!r}") from None


async def told(receiver: Receiver, count: int) -> None:
    """Wait for so many failed jobs; each was told once."""
    await receiver.wait(lambda r: len(finals(r)) >= count, timeout=30)
    assert sorted(finals(receiver).values()) == [1] * count


def finals(receiver: Receiver) -> Counter[int]:
    """How often each job's failure was accepted."""
    documents = [request.document for request in receiver.accepted]
    return Counter(each["job"]["id"] for each in documents if each["type"] == "job.failed")


def assert_quiet(process: BridgeProcess, since: int, seconds: float) -> None:
    """Few lines were logged since, and no traceback."""
    lines = process.log[since:]
    assert len(lines) <= LINES_PER_SECOND * (seconds + 1), Counter(line.get("event") for line in lines)
    assert "Traceback" not in str(lines)


@asynccontextmanager
async def waiting(
    folder: Path, settings: dict[str, Any], reason: str, event: str = "store.unavailable"
) -> AsyncIterator[BridgeProcess]:
    """A bridge whose store does not open: it listens, lives, says why on /readyz, and shows nothing else."""
    process = BridgeProcess(folder, settings)
    try:
        await process.start(event)
        [line] = named(process.log, event)
        assert re.search(reason, line["error"])
        assert (await page(process, "/healthz"))[0] == 200
        status, text = await page(process, "/readyz")
        assert status == 503
        assert re.search(reason, text)
        for path in ("/", "/api/v1/status", "/metrics", "/events/e1"):
            status, text = await page(process, path)
            assert status == 503
            assert "waits for its store" in text
            assert not re.search(reason, text)
        yield process
        assert named(process.log, "store.opened")
        assert_quiet(process, 0, 5)
        assert await process.stop() == 0
    finally:
        await process.kill()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A controller with two failed jobs."""
    async with Simulator(auth=OPEN) as started:
        fail_jobs(started, 2)
        yield started


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook's other side."""
    async with Receiver() as started:
        yield started


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


# --- later ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def in_trouble(process: BridgeProcess, reason: str) -> AsyncIterator[None]:
    """While the store fails: /readyz and the log say why, several polls fail, and few lines are logged."""
    begun, line = time.monotonic(), len(process.log)
    await readiness(process, "the store can't be used")
    status, text = await page(process, "/readyz")
    assert status == 503
    assert re.search(reason, text)
    await process.wait(lambda log: len(named(log[line:], "poll.store_failed")) >= TRIES)
    assert any(re.search(reason, each["error"]) for each in named(process.log[line:], "poll.store_failed"))
    assert (await page(process, "/healthz"))[0] == 200
    yield
    assert_quiet(process, line, time.monotonic() - begun)


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


# --- PostgreSQL -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be stopped: nobody else's tests use it."""
    pytest.importorskip("asyncpg", reason="no PostgreSQL: install the extra 'dev'")
    with postgres_server() as started:
        yield started


async def test_a_server_that_comes_up_after_the_bridge(
    server: PostgresServer, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """A database that refuses connections at the start is waited for."""
    settings = config(sim, receiver, await server.new_database())
    await asyncio.to_thread(server.stop)
    try:
        async with waiting(tmp_path, settings, "check that the database runs") as process:
            await asyncio.to_thread(server.start)
            await process.wait(lambda log: bool(named(log, "bridge.started")))
            await told(receiver, 2)
    finally:
        await asyncio.to_thread(server.start)


async def test_a_server_that_goes_away_for_a_while(
    server: PostgresServer, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """What fails while the database is away is told once it is back, each failure once."""
    process = BridgeProcess(tmp_path, config(sim, receiver, await server.new_database()))
    try:
        await process.start()
        await told(receiver, 2)
        for total in (4, 6):
            await asyncio.to_thread(server.stop)
            try:
                fail_jobs(sim, 2)
                async with in_trouble(process, "check that the database runs|shutting down|terminat"):
                    pass
            finally:
                await asyncio.to_thread(server.start)
            await told(receiver, total)
        await readiness(process, "ready\n")
        assert await process.stop() == 0
    finally:
        await process.kill()


async def test_a_server_that_takes_no_writes_for_a_while(
    server: PostgresServer, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """A database that can only be read, as after a fail-over, is named; once it takes writes all goes on."""
    url = await server.new_database()
    name = make_url(url).database
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';"
    process = BridgeProcess(tmp_path, config(sim, receiver, url))
    try:
        await process.start()
        await told(receiver, 2)
        await asyncio.to_thread(
            server.run, f"ALTER DATABASE {name} SET default_transaction_read_only = on; {cut}"
        )
        fail_jobs(sim, 2)
        async with in_trouble(process, "accepts no writes; point store.url at the primary"):
            pass
        await asyncio.to_thread(
            server.run, f"ALTER DATABASE {name} RESET default_transaction_read_only; {cut}"
        )
        await told(receiver, 4)
        await readiness(process, "ready\n")
        assert await process.stop() == 0
    finally:
        await process.kill()
