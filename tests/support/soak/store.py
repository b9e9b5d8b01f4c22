"""The store as an onlooker reads it: with its own connections and plain SQL, beside the replicas."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from support.soak.record import Notified, Row

LEASES = """SELECT "key" FROM deliveries WHERE state = 'pending' AND leased_by LIKE '%-{pid}-%'"""
LEADS = """SELECT name FROM leaders WHERE owner LIKE '%-{pid}-%'"""
PENDING = "SELECT count(*) FROM deliveries WHERE state = 'pending'"
EVENTS = "SELECT id, type, controller, job_id, revision, document FROM events ORDER BY id"
DELIVERIES = """SELECT "key", event_id, sink, state FROM deliveries ORDER BY seq"""
_ANSWER_WITHIN = 10.0
_LEASES_LAST = 15.0
"""Seconds: less than a delivery's lease. Until then, what a dead process held can still be asked."""
_LEADS_POLLS = "poll:"

Rows = Sequence[Sequence[Any]]


class Store(Protocol):
    """One store of either kind. ``stop`` and ``start`` are there where it has a server."""

    url: str

    async def rows(self, query: str) -> Rows | None:
        """What a query gives; None where the store can't be asked now."""
        ...

    async def stop(self) -> None:
        """Stop the server."""
        ...

    async def start(self) -> None:
        """Start it again."""
        ...


class SqliteStore:
    """A file in ``folder``. There is no server to stop."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "store.db"
        self.url = f"sqlite:///{self._path}"

    async def rows(self, query: str) -> Rows | None:
        """See Store."""
        if not self._path.exists():
            return None
        with (
            suppress(sqlite3.OperationalError),  # not made yet, or locked for longer than we wait
            closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection,
        ):
            return connection.execute(query).fetchall()
        return None

    async def stop(self) -> None:
        """See Store."""

    async def start(self) -> None:
        """See Store."""


class Server(Protocol):
    """What starts and stops PostgreSQL; both block."""

    def stop(self) -> None:
        """Stop it."""
        ...

    def start(self) -> None:
        """Start it."""
        ...


class PostgresqlStore:
    """A database of a server that may be stopped and started."""

    def __init__(self, server: Server, url: str) -> None:
        self._server = server
        self.url = url

    async def rows(self, query: str) -> Rows | None:
        """See Store."""
        import asyncpg  # noqa: PLC0415  a SQLite-only machine lacks it

        # Whatever goes wrong between us and a server that is being stopped: it can't be asked.
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with asyncio.timeout(_ANSWER_WITHIN):
                connection = await asyncpg.connect(self.url)
                try:
                    return [tuple(row) for row in await connection.fetch(query)]
                finally:
                    await connection.close(timeout=_ANSWER_WITHIN)
        return None

    async def stop(self) -> None:
        """See Store."""
        await asyncio.to_thread(self._server.stop)

    async def start(self) -> None:
        """See Store."""
        await asyncio.to_thread(self._server.start)


async def leased_by(store: Store, pid: int) -> frozenset[str] | None:
    """The keys of the deliveries that a process holds; None where the store can't be asked in time."""
    began = time.monotonic()
    while (rows := await store.rows(LEASES.format(pid=pid))) is None:
        if time.monotonic() - began > _LEASES_LAST:
            return None
        await asyncio.sleep(0.1)
    return frozenset(row[0] for row in rows)


async def led_by(store: Store, pid: int) -> frozenset[str]:
    """The controllers that a process leads, as far as the store can be asked and says so."""
    names = await store.rows(LEADS.format(pid=pid)) or ()
    return frozenset(row[0].removeprefix(_LEADS_POLLS) for row in names)


async def pending(store: Store) -> int | None:
    """How many deliveries are unfinished; None where the store can't be asked."""
    rows = await store.rows(PENDING)
    return None if rows is None else int(rows[0][0])


async def ledger(store: Store) -> tuple[list[Notified], list[Row]]:
    """Every event and every delivery."""
    events, deliveries = await store.rows(EVENTS), await store.rows(DELIVERIES)
    if events is None or deliveries is None:
        raise RuntimeError("the store can't be read at the end of the soak")
    told = [
        Notified(number, kind, controller or None, job, revision, msgspec.json.decode(document)["sink"])
        for number, kind, controller, job, revision, document in events
    ]
    return told, [Row(*row) for row in deliveries]
