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
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cmc_notify.errors import StoreError, StoreMisconfigured
from cmc_notify.ports import Clock
from cmc_notify.store import postgresql
from cmc_notify.store.database_errors import drop_stuck, translated

_BUSY_TIMEOUT_MS = 15_000
_PRAGMAS = (
    f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
)
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
        self._connector = postgresql.Connector(parsed)
        self._engine = _sqlite_engine(self.path) if self.path else self._connector.engine()
        event.listen(self._engine.sync_engine, "handle_error", drop_stuck)
        self._for_writing = self._engine.execution_options(cmc_notify_writes=True)
        self.running: set[asyncio.Task[Any]] = set()
        # SQLite has one writer: tasks queue here in order, so that they do not compete for its lock.
        self._writers: AbstractAsyncContextManager[Any] = asyncio.Lock() if self.path else nullcontext()

    @property
    def label(self) -> str:
        """Return the name of the database as people see it, without the password."""
        return f"store {self.path or postgresql.shown(self._connector.url)}"

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
        present = postgresql.without_credentials(self._connector.url)
        if self.path or postgresql.without_credentials(parsed) != present:
            return False
        self._connector.url = parsed
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
            engine = self._connector.engine(for_upgrade=True)
            async with engine.connect() as connection, connection.begin():
                for limit in ("statement_timeout", "lock_timeout"):  # a role or database may set them
                    await connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
                yield connection

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

    def insert_missing(self, table: Table) -> sqlite.Insert | postgresql_dialect.Insert:
        """Return an INSERT that leaves a row with the same key as it is."""
        return self.insert(table).on_conflict_do_nothing()

    def upsert(
        self, table: Table, *, keep: Collection[str] = ()
    ) -> sqlite.Insert | postgresql_dialect.Insert:
        """Return an INSERT that overwrites a row with the same primary key, except its columns ``keep``."""
        insert = self.insert(table)
        keys = [column.name for column in table.primary_key]
        written = {
            column.name: insert.excluded[column.name]
            for column in table.columns
            if column.name not in keys and column.name not in keep
        }
        return insert.on_conflict_do_update(index_elements=keys, set_=written)

    def insert(self, table: Table) -> sqlite.Insert | postgresql_dialect.Insert:
        """Return an INSERT that can be given a rule for a row with the same key."""
        return sqlite.insert(table) if self.path else postgresql_dialect.insert(table)


def in_chunks(values: Collection[str]) -> Iterator[list[str]]:
    """Yield the values in lists that fit one IN (...)."""
    rest = iter(values)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


def _parse(url: str) -> URL:
    try:
        parsed = postgresql.parse_url(url) if url.startswith("postgres") else make_url(url)
    except (ArgumentError, ValueError):  # the latter if the port is not a number
        raise StoreMisconfigured(
            "store.url is not a valid URL; write sqlite:///data/cmc-notify.db or postgresql://user@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and not parsed.database.startswith((":memory:", "file:")):
        return parsed
    if backend == "sqlite":
        raise StoreMisconfigured("store.url must name a file: write sqlite:///data/cmc-notify.db")
    if backend in ("postgresql", "postgres"):
        return parsed
    raise StoreMisconfigured(
        f"store.url: {backend!r} is not a known kind of store; write sqlite:///… or postgresql://…"
    )


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
