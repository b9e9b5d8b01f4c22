"""Outages: the store says where and what to do, and the same store works again once the cause is gone."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from cmc_notify.core.model import JobState
from cmc_notify.errors import StoreUnavailable
from cmc_notify.ports import PollCommit
from cmc_notify.store import Store, open_store
from support.postgres import PostgresServer

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
Admin = Callable[[str], Awaitable[None]]

on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
async def admin(postgresql_server: PostgresServer, store_url: str) -> AsyncIterator[Admin]:
    """Runs a statement as the server's administrator; ``{database}`` is the store's."""
    connection = await asyncpg.connect(postgresql_server.url)

    async def run(statement: str) -> None:
        await connection.execute(statement.format(database=make_url(store_url).database))

    yield run
    await connection.close()


END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"


async def refused(work: Awaitable[Any]) -> str:
    """Return the error's text; it never holds a password."""
    with pytest.raises(StoreUnavailable) as caught:
        await work
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


async def fill_the_pool(store: Store) -> None:
    """Have several connections open, so that an outage meets more than one."""
    await asyncio.gather(*(store.ledger.ping() for _ in range(4)), *(store.ledger.depths() for _ in range(4)))


async def all_good(store: Store) -> None:
    """Everything works, on whatever connection it happens."""
    await fill_the_pool(store)
    assert (await store.poll.load_snapshot("emea")).version == 1


@on_postgresql
async def test_a_server_that_stops_and_starts(
    store: Store, postgresql_server: PostgresServer, make_commit: MakeCommit
) -> None:
    """While the server is away each method says so at once; when it is back, the next call works."""
    await store.poll.commit_poll(make_commit(0))
    await fill_the_pool(store)
    await asyncio.to_thread(postgresql_server.stop)
    try:
        for work in (store.ledger.ping(), store.poll.commit_poll(make_commit(1)), store.ledger.depths()):
            message = await refused(work)
            assert message.startswith("store postgresql://postgres")
            assert "check that the database runs" in message
    finally:
        await asyncio.to_thread(postgresql_server.start)
    await all_good(store)


@on_postgresql
async def test_a_server_away_at_the_start(
    store_url: str, postgresql_server: PostgresServer, hands: SimpleNamespace
) -> None:
    """A server that is not there yet refuses the opening; the next try opens."""
    await asyncio.to_thread(postgresql_server.stop)
    try:
        message = await refused(open_store(store_url, clock=lambda: hands.now, exclusive=True))
    finally:
        await asyncio.to_thread(postgresql_server.start)
    assert "check that the database runs" in message
    store = await open_store(store_url, clock=lambda: hands.now, exclusive=True)
    await store.ledger.ping()
    await store.close()


@on_postgresql
async def test_a_connection_cut_in_a_transaction(
    store: Store,
    admin: Admin,
    make_state: MakeState,
    make_commit: MakeCommit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A commit whose connection is cut in the middle is not there at all, and is done again whole."""
    await store.poll.commit_poll(make_commit(0))
    commit = make_commit(1, make_state(1), deliveries=({},))
    written = store.poll._write_events

    async def write_and_lose_contact(connection: Any, of: PollCommit) -> None:
        await written(connection, of)
        await admin(END_ALL)

    with monkeypatch.context() as patch:
        patch.setattr(store.poll, "_write_events", write_and_lose_contact)
        assert "check that the database runs" in await refused(store.poll.commit_poll(commit))
    await all_good(store)
    assert await store.ledger.events() == []
    assert await store.poll.commit_poll(commit) == 2
    assert len(await store.outbox.claim("chat", owner="me", limit=9, lease=9)) == 1


@on_postgresql
async def test_connections_cut_while_idle_are_not_noticed(
    store: Store, admin: Admin, make_commit: MakeCommit
) -> None:
    """Idle connections that a fail-over or firewall ended are replaced: no call fails for them."""
    await store.poll.commit_poll(make_commit(0))
    await fill_the_pool(store)
    await admin(END_ALL)
    await all_good(store)


@on_postgresql
async def test_a_server_that_takes_no_writes(
    store: Store, admin: Admin, make_commit: MakeCommit, make_state: MakeState
) -> None:
    """A standby or a read-only database is named as such; connections of that time are not used again."""
    await store.poll.commit_poll(make_commit(0))
    await admin("ALTER DATABASE {database} SET default_transaction_read_only = on")
    await admin(END_ALL)
    await asyncio.gather(*(store.ledger.depths() for _ in range(4)))  # reads go on
    for work in (store.ledger.ping(), store.poll.commit_poll(make_commit(1, make_state(1)))):
        assert "accepts no writes; point store.url at the primary" in await refused(work)
    await asyncio.gather(*(store.ledger.depths() for _ in range(4)))
    await admin("ALTER DATABASE {database} RESET default_transaction_read_only")
    await refused(store.ledger.ping())  # one of the old connections: it takes the others with it
    await all_good(store)


@on_postgresql
async def test_a_wrong_password(
    store_url: str, admin: Admin, postgresql_server: PostgresServer, hands: SimpleNamespace
) -> None:
    """A refused password is named without being shown; once the server takes it, the same URL opens."""
    await admin("CREATE ROLE stranger LOGIN PASSWORD 'other'")
    with first_rule(postgresql_server.data, "local all stranger scram-sha-256\n"):
        await admin("SELECT pg_reload_conf()")
        url = store_url.replace("postgres:@", "stranger:hunter2@")
        assert url != store_url
        message = await refused(open_store(url, clock=lambda: hands.now, exclusive=False))
        assert "check the user and password in store.url" in message
        await admin("ALTER ROLE stranger SUPERUSER PASSWORD 'hunter2'")
        store = await open_store(url, clock=lambda: hands.now, exclusive=False)
        await store.ledger.ping()
        await store.close()
    await admin("SELECT pg_reload_conf()")
    await admin("DROP ROLE stranger")


@asynccontextmanager
async def role(
    server: PostgresServer, admin: Admin, store_url: str, name: str
) -> AsyncIterator[Callable[[str], str]]:
    """A superuser whose password is asked for, ``one`` at first; gives the store's URL with a password."""
    await admin(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'one'")

    def url(password: str) -> str:
        return make_url(store_url).set(username=name, password=password).render_as_string(hide_password=False)

    try:
        with first_rule(server.data, f"local all {name} scram-sha-256\n"):
            await admin("SELECT pg_reload_conf()")
            yield url
    finally:
        await admin("SELECT pg_reload_conf()")
        await admin(END_ALL)
        await admin(f"DROP ROLE IF EXISTS {name}")


@on_postgresql
async def test_a_rotated_password(
    store_url: str, admin: Admin, postgresql_server: PostgresServer, hands: SimpleNamespace
) -> None:
    """New connections sign in with the new one; those that are open go on; the old one is used no more."""
    async with role(postgresql_server, admin, store_url, "rotating") as url:
        store = await open_store(url("one"), clock=lambda: hands.now, exclusive=True)
        await store.ledger.ping()
        await admin("ALTER ROLE rotating PASSWORD 'two'")
        await store.ledger.ping()
        await admin(END_ALL)
        assert "check the user and password in store.url" in await refused(store.ledger.ping())
        assert store.use_credentials(url("two"))
        await fill_the_pool(store)
        assert store.use_credentials(url("hunter2"))
        await store.ledger.ping()
        await admin(END_ALL)
        await refused(store.ledger.ping())
        assert store.use_credentials(url("two"))
        await fill_the_pool(store)
        await store.close()


@on_postgresql
async def test_another_user_of_the_same_database(
    store_url: str, admin: Admin, postgresql_server: PostgresServer, hands: SimpleNamespace
) -> None:
    """Two users in turn: once the old one is gone, no connection of its goes on failing."""
    async with role(postgresql_server, admin, store_url, "blue") as blue:
        store = await open_store(blue("one"), clock=lambda: hands.now, exclusive=True)
        await fill_the_pool(store)
        async with role(postgresql_server, admin, store_url, "green") as green:
            by_options = make_url(store_url).update_query_dict({"user": "green", "password": "one"})
            for url in (green("one"), by_options.render_as_string(hide_password=False)):
                assert store.use_credentials(url)
            await admin("ALTER ROLE blue NOSUPERUSER NOLOGIN")
            assert "permission denied for table" in await refused(
                store.ledger.ping()
            )  # a connection of blue's
            await fill_the_pool(store)  # it took the others with it
            assert store._database.label.startswith("store postgresql://green@")
            await store.close()


async def test_what_is_no_change_of_credentials(store: Store, store_url: str) -> None:
    """Another database, another way to it, or no store at all changes nothing."""
    assert store.use_credentials(store_url)
    sqlite = store_url.startswith("sqlite")
    others = ["sqlite:///other.db", "nonsense", "postgresql://u:hunter2@127.0.0.1/other"]
    if not sqlite:
        postgresql = make_url(store_url)
        others += [
            str(postgresql.set(database="other")),
            str(postgresql.update_query_dict({"ssl": "require"})),
        ]
    assert [url for url in others if store.use_credentials(url)] == []
    await store.ledger.ping()


@contextmanager
def first_rule(data: Path, rule: str) -> Iterator[None]:
    """Put a rule before all others of who may sign in how, once the server reloads."""
    access = data / "pg_hba.conf"
    before = access.read_text()
    access.write_text(rule + before)
    try:
        yield
    finally:
        access.write_text(before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@needs_root
async def test_a_disk_that_is_full(
    small_disk: Path, hands: SimpleNamespace, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """With no room a commit is refused whole and reads go on; with room again it goes through."""
    store = await open_store(f"sqlite:///{small_disk}/store.db", clock=lambda: hands.now, exclusive=True)
    await store.poll.commit_poll(make_commit(0))
    (small_disk / "ballast").write_bytes(bytes(free_bytes(small_disk)))
    big = make_commit(1, *(make_state(number) for number in range(300)))
    message = await refused(store.poll.commit_poll(big))
    assert str(small_disk / "store.db") in message
    assert "free space on its disk" in message
    assert (await store.poll.load_snapshot("emea")).version == 1
    (small_disk / "ballast").unlink()
    assert await store.poll.commit_poll(big) == 2
    await store.close()


@needs_root
async def test_a_disk_full_at_the_start(small_disk: Path, hands: SimpleNamespace) -> None:
    """A store for which there is no room is refused by name, and opened once there is."""
    url = f"sqlite:///{small_disk}/store.db"
    (small_disk / "ballast").write_bytes(bytes(free_bytes(small_disk) - 8192))
    assert "free space on its disk" in await refused(open_store(url, clock=lambda: hands.now, exclusive=True))
    (small_disk / "ballast").unlink()
    await (await open_store(url, clock=lambda: hands.now, exclusive=True)).close()


def remount(disk: Path, mode: str) -> None:
    """Make it read-only (``ro``) or writable (``rw``)."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def free_bytes(disk: Path) -> int:
    """Return the space that is left on it."""
    return shutil.disk_usage(disk).free


@needs_root
async def test_a_disk_that_can_only_be_read(
    small_disk: Path, hands: SimpleNamespace, make_commit: MakeCommit
) -> None:
    """A file system that turned read-only is named, at the opening too; writable again, all goes on."""
    url = f"sqlite:///{small_disk}/store.db"
    store = await open_store(url, clock=lambda: hands.now, exclusive=True)
    await store.poll.commit_poll(make_commit(0))
    await store.close()
    remount(small_disk, "ro")
    message = await refused(open_store(url, clock=lambda: hands.now, exclusive=True))
    assert "file system that can be written" in message
    remount(small_disk, "rw")
    store = await open_store(url, clock=lambda: hands.now, exclusive=True)
    await all_good(store)
    await store.close()


@on_sqlite
async def test_a_connection_that_can_only_read(store: Store, make_commit: MakeCommit) -> None:
    """A connection made while nothing could be written is not used again after it said so."""
    await store.poll.commit_poll(make_commit(0))
    async with store._database.read() as connection:
        await connection.exec_driver_sql("PRAGMA query_only = ON")
    assert "make the file and its folder writable" in await refused(store.ledger.ping())
    await all_good(store)


@on_sqlite
async def test_damage_while_it_runs(
    store: Store, store_url: str, hands: SimpleNamespace, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """Damage that shows while the bridge runs is named at each call; a restored backup opens again."""
    path = Path(store_url.removeprefix("sqlite:///"))
    await store.poll.commit_poll(make_commit(0, *(make_state(number) for number in range(500))))
    await store.close()
    store = await open_store(store_url, clock=lambda: hands.now, exclusive=True)
    with damaged(path):
        for _ in range(2):
            assert "restore a backup" in await refused(store.poll.load_snapshot("emea"))
        await store.close()
    again = await open_store(store_url, clock=lambda: hands.now, exclusive=True)
    await all_good(again)
    await again.close()


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Write over the file in place; restore it in the end, as one restores a backup."""
    backup = path.read_bytes()
    with path.open("r+b") as file:
        file.write(b"\xff" * len(backup))
    yield
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    path.write_bytes(backup)
