"""Opening a store: the schema and its versions, who may hold it, and what it says when it can't be used."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, make_url, text

from cmc_notify.core.model import JobState
from cmc_notify.errors import StoreError, StoreLocked, StoreUnavailable
from cmc_notify.ports import PollCommit
from cmc_notify.store import Store, open_store, schema
from cmc_notify.store.tables import metadata
from support.postgres import PostgresServer

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
OpenAnother = Callable[..., Awaitable[Store]]
CommitEvent = Callable[..., Awaitable[list[str]]]

CHILD = """
import asyncio, sys, time
from cmc_notify.store import open_store

async def main(url):
    store = await open_store(url, clock=time.time, exclusive=True)
    claims = await store.outbox.claim("chat", owner="child", limit=1, lease=3600)
    if claims:
        await store.outbox.record_part(claims[0].delivery.id, "root", "1")
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main(sys.argv[1]))
"""


def clock() -> float:
    """Any time."""
    return 1_795_425_600.0


@asynccontextmanager
async def child(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bridge-like process that holds the store, has claimed one delivery, and is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, url, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    try:
        line = await process.stdout.readline()
        assert line == b"ready\n", (await process.stderr.read()).decode()
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def refusal(url: str, *, exclusive: bool = True) -> StoreError:
    """Return the error that opening the store raises."""
    with pytest.raises(StoreError) as caught:
        await open_store(url, clock=clock, exclusive=exclusive)
    return caught.value


async def test_migrations_lead_to_the_tables(store: Store) -> None:
    """The migrations build, from nothing, the schema that the code works with."""

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with store._database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrations_lead_to_the_tables_word_for_word(tmp_path: Path) -> None:
    """On SQLite, also partial indices, names and autoincrement are the same: the schema texts are equal."""
    store = await open_store(f"sqlite:///{tmp_path}/migrated.db", clock=clock, exclusive=True)
    await store.close()
    engine = create_engine(f"sqlite:///{tmp_path}/created.db")
    metadata.create_all(engine)
    engine.dispose()

    def schema(name: str) -> dict[str, list[str]]:
        connection = sqlite3.connect(tmp_path / name)
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        connection.close()
        # Tables may list their constraints in another order, and added columns stand on the line before.
        lines = {key: re.split(r"\s*[\n,]\s*(?![^(]*\))", sql) for key, sql in rows}
        return {key: sorted(value) for key, value in lines.items() if not key.startswith("alembic")}

    assert schema("migrated.db") == schema("created.db")


async def test_opened_again_it_is_all_there(
    store: Store, open_another: OpenAnother, commit_event: CommitEvent, store_url: str
) -> None:
    """A store that was closed and is opened again, also beside another, has everything."""
    (one,) = await commit_event({})
    beside = await open_another()
    assert await beside.ledger.delivery(one)
    await store.close()
    again = await open_store(store_url, clock=clock, exclusive=True)
    assert await again.ledger.delivery(one)
    await again.close()


async def test_commands_need_a_store(blank_url: str, tmp_path: Path) -> None:
    """Any other program creates no store and no file: its error says to start the bridge."""
    assert "cmc-notify run" in str(await refusal(blank_url, exclusive=False))
    if blank_url.startswith("sqlite"):
        assert modes(tmp_path) == {}


async def test_an_empty_database_is_no_store(tmp_path: Path) -> None:
    """A file without a schema is not taken for a store."""
    (tmp_path / "empty.db").touch()
    refused = await refusal(f"sqlite:///{tmp_path}/empty.db", exclusive=False)
    assert "has the bridge" in str(refused)


@pytest.mark.parametrize("exclusive", [True, False])
async def test_a_newer_schema_is_left_alone(store: Store, store_url: str, exclusive: bool) -> None:
    """A store that a later version has upgraded is refused, and says what to do."""
    async with store._database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await store.close()
    message = str(await refusal(store_url, exclusive=exclusive))
    assert "9999" in message
    assert "newer cmc-notify" in message


async def test_a_second_bridge_is_refused(tmp_path: Path) -> None:
    """While one process holds a SQLite store, another bridge is refused by name; commands are not."""
    url = f"sqlite:///{tmp_path}/a/b/store.db"
    async with child(url) as process:
        refused = await refusal(url)
        assert isinstance(refused, StoreLocked)
        assert f"process {process.pid}" in str(refused)
        assert str(tmp_path / "a/b/store.db") in str(refused)
        beside = await open_store(url, clock=clock, exclusive=False)
        await beside.ledger.ping()
        await beside.close()
    after = await open_store(url, clock=clock, exclusive=True)
    assert isinstance(await refusal(url), StoreLocked)
    await after.close()


async def test_replicas_share_postgresql(store: Store, open_another: OpenAnother) -> None:
    """On PostgreSQL several bridges run at once; SQLite takes one."""
    if store._database.path:
        with pytest.raises(StoreLocked):
            await open_another(exclusive=True)
    else:
        await (await open_another(exclusive=True)).ledger.ping()


async def test_all_survives_a_kill(
    tmp_path: Path, make_state: MakeState, make_commit: MakeCommit, hands: SimpleNamespace
) -> None:
    """All that a killed bridge had committed is there; what it was sending is free at once, and unclear."""
    url = f"sqlite:///{tmp_path}/store.db"
    store = await open_store(url, clock=lambda: hands.now, exclusive=True)
    hands.now = 1000.0
    commit = make_commit(0, make_state(1), deliveries=({}, {}))
    await store.poll.commit_poll(commit)
    await store.close()
    async with child(url) as process:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    store = await open_store(url, clock=lambda: hands.now, exclusive=True)
    claims = await store.outbox.claim("chat", owner="me", limit=9, lease=9)
    assert [(claim.delivery.id, claim.delivery.unclear, claim.delivery.parts) for claim in claims] == [
        (commit.deliveries[0].id, True, {"root": "1"}),
        (commit.deliveries[1].id, False, {}),
    ]
    await store.close()


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of each file."""
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """The file holds secrets and error texts: it is made for this user alone."""
    store = await open_store(f"sqlite:///{tmp_path}/store.db", clock=clock, exclusive=True)
    await store.ledger.secret("links")
    found = modes(tmp_path)
    await store.close()
    assert {"store.db", "store.db-wal", "store.db.lock"} <= found.keys()
    assert set(found.values()) == {0o600}


async def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """If others may write into the store's folder, a link at the lock's path empties none of our files."""
    other = tmp_path / "precious"
    other.write_text("kept")
    (tmp_path / "store.db.lock").symlink_to(other)
    await refusal(f"sqlite:///{tmp_path}/store.db")
    assert other.read_text() == "kept"


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
        ("postgresql://u:hunter2@127.0.0.1/db?port=hunter2", "options can't be used"),
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
    monkeypatch.setattr("cmc_notify.store.engine._COMMAND_TIMEOUT", 0.2)
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

    monkeypatch.setattr("cmc_notify.store.engine._COMMAND_TIMEOUT", 0.2)
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
