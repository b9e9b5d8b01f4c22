"""One database, SQLite or PostgreSQL: transactions, and the few places where the two differ.

A transaction that ended is on disk: on SQLite the write-ahead log is synced at each commit
(``synchronous=FULL``), so it survives a killed process and a power cut. Any error leaves as StoreUnavailable.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Table, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from cmc_notify.errors import StoreError
from cmc_notify.ports import Clock
from cmc_notify.store.database_errors import drop_stuck, translated

_BUSY_TIMEOUT_MS = 15_000
_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
)
_POSTGRESQL_OPTIONS = frozenset(
    {"host", "port", "user", "password", "passfile", "ssl", "sslmode", "prepared_statement_cache_size"}
)
_CREDENTIALS = ("user", "password")
_FROZEN_AFTER_MS = 8_000
"""A process that is frozen in the middle of a transaction holds locks, and so stops the replica that takes
over, until PostgreSQL ends that transaction.
"""
_COMMAND_TIMEOUT = 60.0
"""Seconds for one statement, except in an upgrade."""
CLOSE_WITHIN = 1.0
"""Seconds, twice at most, to wait for a server that hangs; containers are killed soon after."""
_CHUNK = 500  # values in one IN list, far below either database's limit


class Database:
    """Opens transactions on one database. ``path`` is the file of a SQLite store, else None."""

    def __init__(self, url: str, clock: Clock) -> None:
        """Connects at first use. Raises StoreError if the URL does not name a store."""
        parsed = _parse(url)
        self.clock = clock
        self.path = Path(parsed.database or "").resolve() if parsed.drivername.startswith("sqlite") else None
        self._url = parsed
        self._engine = _sqlite_engine(self.path) if self.path else self._postgresql_engine()
        event.listen(self._engine.sync_engine, "handle_error", drop_stuck)
        self._for_writing = self._engine.execution_options(cmc_notify_writes=True)
        self.running: set[asyncio.Task[Any]] = set()
        # SQLite has one writer: tasks queue here in order, so that they do not compete for its lock.
        self._writers: AbstractAsyncContextManager[Any] = asyncio.Lock() if self.path else nullcontext()

    @property
    def label(self) -> str:
        """Return the name of the database as people see it, without the password."""
        return f"store {self.path or _shown(self._url)}"

    def use_credentials(self, url: str) -> bool:
        """Let new connections sign in with the user and password of ``url``; open ones stay.

        Returns False and changes nothing if ``url`` names another database or another way to it.
        """
        try:
            parsed = _parse(url)
        except StoreError:
            return False
        if parsed.drivername.startswith("sqlite"):
            return self.path == Path(parsed.database or "").resolve()
        if self.path or _without_credentials(parsed) != _without_credentials(self._url):
            return False
        self._url = parsed
        return True

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that only reads."""
        with translated(self.label):
            async with self._engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is committed at its end, and rolled back after an exception."""
        with translated(self.label):
            async with self._writers, self._for_writing.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def upgrade(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction like ``write``, without a time limit for its statements.

        One statement may rewrite millions of rows; with a limit, it would be rolled back and started again
        for ever. Replicas wait for each other as long as it takes.
        """
        if self.path:
            async with self.write() as connection:
                yield connection
            return
        with translated(self.label):
            engine = self._postgresql_engine(for_upgrade=True)
            async with engine.connect() as connection, connection.begin():
                for limit in ("statement_timeout", "lock_timeout"):  # a role or database may set them
                    await connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
                yield connection

    def _postgresql_engine(self, *, for_upgrade: bool = False) -> AsyncEngine:
        engine = _postgresql_engine(self._url, for_upgrade=for_upgrade)
        event.listen(engine.sync_engine, "do_connect", self._sign_in)
        return engine

    def _sign_in(self, _dialect: object, _record: object, _args: object, params: dict[str, Any]) -> None:
        # The engine keeps the credentials that it was made with; those of the present URL count.
        for key in _CREDENTIALS:
            params.pop(key, None)
        params.update(_credentials(self._url))

    def ended(self, task: asyncio.Task[Any]) -> None:
        """Remove a task from ``running``; its error goes to its caller, if that still waits."""
        self.running.discard(task)
        if not task.cancelled():
            task.exception()

    async def close(self) -> None:
        """Wait for running methods, then close every connection; do not wait for a server that hangs.

        Its last statements may then be done or not, as after a crash.
        """
        within = None if self.path else CLOSE_WITHIN
        if self.running:
            await asyncio.wait(self.running, timeout=within)
        for task in tuple(self.running):
            task.cancel()
        with translated(self.label), suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._engine.dispose()

    async def lease_clock(self, connection: AsyncConnection) -> float:
        """Return the time that leases run by: PostgreSQL's clock, which replicas share; on SQLite our own."""
        if self.path:
            return self.clock()
        now = await connection.scalar(select(func.extract("epoch", func.clock_timestamp())))
        return float(now or 0)

    def insert_missing(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT that leaves a row with the same key as it is."""
        return self.insert(table).on_conflict_do_nothing()

    def upsert(self, table: Table, *, keep: Collection[str] = ()) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT that overwrites a row with the same primary key, except its columns ``keep``."""
        insert = self.insert(table)
        keys = [column.name for column in table.primary_key]
        written = {
            column.name: insert.excluded[column.name]
            for column in table.columns
            if column.name not in keys and column.name not in keep
        }
        return insert.on_conflict_do_update(index_elements=keys, set_=written)

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT that can be given a rule for a row with the same key."""
        return sqlite.insert(table) if self.path else postgresql.insert(table)


def in_chunks(values: Collection[str]) -> Iterator[list[str]]:
    """Yield the values in lists that fit one IN (...)."""
    rest = iter(values)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter if the port is not a number
        raise StoreError(
            "store.url is not a valid URL; write sqlite:///data/cmc-notify.db or postgresql://user@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and not parsed.database.startswith((":memory:", "file:")):
        return parsed
    if backend == "sqlite":
        raise StoreError("store.url must name a file: write sqlite:///data/cmc-notify.db")
    if backend in ("postgresql", "postgres"):
        return parsed
    raise StoreError(
        f"store.url: {backend!r} is not a known kind of store; write sqlite:///… or postgresql://…"
    )


def _shown(url: URL) -> str:
    """Return the address alone, without the password and the options, which may hold one."""
    user = _credentials(url).get("user")
    return URL.create("postgresql", user, None, url.host, url.port, url.database).render_as_string()


def _credentials(url: URL) -> dict[str, str]:
    """Return user and password by asyncpg's names; an option counts before the part in front of the host."""
    given = {"user": url.username, "password": url.password} | {
        key: value for key, value in url.query.items() if key in _CREDENTIALS
    }
    return {key: str(value) for key, value in given.items() if value is not None}


def _without_credentials(url: URL) -> URL:
    """Return the URL without user and password: which database it is, and how it is reached."""
    query = {key: value for key, value in url.query.items() if key not in _CREDENTIALS}
    return URL.create("postgresql", None, None, url.host, url.port, url.database, query)


def _sqlite_engine(path: Path) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        # None: the driver begins no transaction itself, so that DDL and reads are in our transactions too.
        connect_args={"isolation_level": None},
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A write takes its lock at once: upgrading a read later could fail with SQLITE_BUSY in the middle.
    writes = connection.get_execution_options().get("cmc_notify_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_engine(url: URL, *, for_upgrade: bool) -> AsyncEngine:
    query = dict(url.query)
    if unknown := sorted(query.keys() - _POSTGRESQL_OPTIONS):
        known = ", ".join(sorted(_POSTGRESQL_OPTIONS))
        raise StoreError(f"store.url: unknown option {unknown[0]!r}; these are known: {known}")
    if "sslmode" in query:  # libpq's name for what asyncpg calls ssl
        query["ssl"] = query.pop("sslmode")
    try:
        return create_async_engine(
            url.set(drivername="postgresql+asyncpg", query=query),
            connect_args={
                "timeout": 10,
                "command_timeout": None if for_upgrade else _COMMAND_TIMEOUT,
                "server_settings": {
                    "application_name": "cmc-notify",
                    "idle_in_transaction_session_timeout": str(_FROZEN_AFTER_MS),
                },
            },
            hide_parameters=True,
            poolclass=NullPool if for_upgrade else None,
            pool_pre_ping=True,
        )
    except ArgumentError as error:
        raise StoreError(
            f"store {_shown(url)}: its options can't be used; check host and port in it"
        ) from error
    except ModuleNotFoundError as error:
        raise StoreError(
            f"store {_shown(url)}: {error.name} is not installed; pip install 'cmc-notify[postgres]'"
        ) from error
