"""Opening a store: the schema and its versions, who may hold it, and what it says when it can't be used."""

import asyncio
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from cmc_notify.core.model import JobState
from cmc_notify.errors import StoreLocked
from cmc_notify.ports import PollCommit
from cmc_notify.store import Store, open_store
from cmc_notify.store.tables import metadata
from support.store_opening import clock, refusal

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
