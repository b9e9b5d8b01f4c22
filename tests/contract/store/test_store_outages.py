"""Outages: the store says where and what to do, and the same store works again once the cause is gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from cmc_notify.core.model import JobState
from cmc_notify.ports import PollCommit
from cmc_notify.store import Store, open_store
from support.postgres import PostgresServer
from support.store_outages import all_good, fill_the_pool, refused

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
Admin = Callable[[str], Awaitable[None]]

on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


@pytest.fixture
async def admin(postgresql_server: PostgresServer, store_url: str) -> AsyncIterator[Admin]:
    """Runs a statement as the server's administrator; ``{database}`` is the store's."""
    connection = await asyncpg.connect(postgresql_server.url)

    async def run(statement: str) -> None:
        await connection.execute(statement.format(database=make_url(store_url).database))

    yield run
    await connection.close()


END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"


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
