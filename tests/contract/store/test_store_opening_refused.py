"""Test stores that cannot be opened, and openings that take long."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text

from cmc_notify.core.model import JobState
from cmc_notify.errors import StoreUnavailable
from cmc_notify.ports import PollCommit
from cmc_notify.store import Store, open_store, schema
from support.postgres import PostgresServer
from support.store_opening import clock, refusal

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "store.url is not a valid URL"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("mysql://u:hunter2@h/db", "'mysql' is not a known kind of store"),
        ("postgresql://u:hunter2@127.0.0.1:1/db", "store postgresql://u@127.0.0.1:1/db"),
        ("postgresql://u@127.0.0.1:1/db?password=hunter2", "store postgresql://u@127.0.0.1:1/db"),
        ("postgresql://u:hunter2@127.0.0.1:1/db?colour=red", "colour"),
        ("postgresql://u:hunter2@127.0.0.1:port/db", "store.url is not a valid URL"),
        ("postgresql://u:hunter2@127.0.0.1/db?port=hunter2", "a port must be a number"),
    ],
)
async def test_urls_that_lead_nowhere(url: str, says: str) -> None:
    """A wrong URL or an absent server is named, without the password."""
    for exclusive in (True, False):
        refused = await refusal(url, exclusive=exclusive)
        assert says in str(refused)
        assert "hunter2" not in str(refused)


async def test_a_wrong_password_is_no_crash(postgresql_server: PostgresServer) -> None:
    """Errors of PostgreSQL while connecting are translated too."""
    refused = await refusal(postgresql_server.url.replace("/postgres?", "/nowhere?"))
    assert isinstance(refused, StoreUnavailable)
    assert 'database "nowhere" does not exist; check the names in store.url' in str(refused)


async def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    """If there is a file at the path of the folder, the message names the store."""
    (tmp_path / "file").touch()
    for exclusive in (True, False):
        refused = await refusal(f"sqlite:///{tmp_path}/file/store.db", exclusive=exclusive)
        assert str(tmp_path / "file/store.db") in str(refused)


@pytest.mark.parametrize("content", [b"#!/bin/sh\n" * 1000, b"SQLite format 3\0" + b"\xff" * 9000])
async def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    """Another kind of file is refused, kept as it is, and its lock given up."""
    path = tmp_path / "store.db"
    path.write_bytes(content)
    for exclusive in (True, True, False):
        refused = await refusal(f"sqlite:///{path}", exclusive=exclusive)
        assert isinstance(refused, StoreUnavailable)
        assert "it is not a store" in str(refused)
    assert path.read_bytes() == content


async def test_a_full_disk(tmp_path: Path, make_state: MakeState, make_commit: MakeCommit) -> None:
    """A commit for which there is no room is refused whole; the store works again once there is."""
    store = await open_store(f"sqlite:///{tmp_path}/store.db", clock=clock, exclusive=True)
    async with store._database.write() as connection:
        # The pool hands the same connection out again: SQLite then says what it says on a full disk.
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    big = make_commit(0, *(make_state(number) for number in range(200)))
    with pytest.raises(StoreUnavailable, match="disk is full; free space"):
        await store.poll.commit_poll(big)
    assert (await store.poll.load_snapshot("emea")).version == 0
    async with store._database.write() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert await store.poll.commit_poll(big) == 1
    await store.close()


async def test_a_damaged_file(tmp_path: Path, make_state: MakeState, make_commit: MakeCommit) -> None:
    """Pages overwritten behind its back give StoreUnavailable, not a crash."""
    path = tmp_path / "store.db"
    store = await open_store(f"sqlite:///{path}", clock=clock, exclusive=True)
    await store.poll.commit_poll(make_commit(0, *(make_state(number) for number in range(500))))
    await store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    refused = await refusal(f"sqlite:///{path}")
    assert isinstance(refused, StoreUnavailable)
    assert "restore a backup" in str(refused)


async def test_an_upgrade_takes_its_time(
    postgresql_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No limit of the driver, the role or the database ends a long step, nor the wait for another replica."""
    url = await postgresql_server.new_database()
    name = make_url(url).database
    for limit in ("statement_timeout", "lock_timeout"):
        await asyncio.to_thread(postgresql_server.run, f"ALTER DATABASE {name} SET {limit} = '100ms';")
    monkeypatch.setattr("cmc_notify.store.postgresql.COMMAND_TIMEOUT", 0.2)
    upgrade = schema._upgrade

    def upgrade_slowly(connection: Connection, place: str) -> None:
        connection.execute(text("SELECT pg_sleep(0.5)"))
        upgrade(connection, place)

    monkeypatch.setattr(schema, "_upgrade", upgrade_slowly)
    stores = await asyncio.gather(*(open_store(url, clock=clock, exclusive=True) for _ in range(2)))
    try:
        with pytest.raises(StoreUnavailable):
            async with stores[0]._database.read() as connection:
                await connection.execute(text("SELECT pg_sleep(0.5)"))
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_a_server_that_hangs_at_an_ordinary_start(
    postgresql_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is nothing to upgrade, the limits apply: a start without a response is refused."""
    url = await postgresql_server.new_database()
    await (await open_store(url, clock=clock, exclusive=True)).close()
    current = schema._current

    def ask_slowly(connection: Connection) -> str | None:
        connection.execute(text("SELECT pg_sleep(0.5)"))
        return current(connection)

    monkeypatch.setattr("cmc_notify.store.postgresql.COMMAND_TIMEOUT", 0.2)
    monkeypatch.setattr(schema, "_current", ask_slowly)
    assert isinstance(await refusal(url), StoreUnavailable)


@pytest.fixture
def locked_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that this user can't write."""
    tmp_path.chmod(0o500)
    yield tmp_path
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_can_not_be_written(locked_folder: Path) -> None:
    """A read-only folder is named, with what to do."""
    refused = await refusal(f"sqlite:///{locked_folder}/store.db")
    assert "writable" in str(refused)


async def test_a_cancelled_commit_blocks_nobody(
    store: Store, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """A commit cancelled at any moment is there whole or not at all, and leaves no lock behind."""
    cancelled = 0
    async with asyncio.timeout(10):  # less than one wait for SQLite's lock
        for turns in range(40):
            version = (await store.poll.load_snapshot("emea")).version
            commit = make_commit(version, make_state(turns), deliveries=({},))
            task = asyncio.create_task(store.poll.commit_poll(commit))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            cancelled += isinstance(outcome, asyncio.CancelledError)
        await store.close()
    assert cancelled > 10
    snapshot = await store.poll.load_snapshot("emea")
    assert snapshot.version == len(snapshot.known) == len(await store.ledger.events()) > 0
    await store._database.close()
