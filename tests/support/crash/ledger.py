"""What a bridge's store says of its deliveries, asked beside it, on either database."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

Sent = tuple[str, str | None]
"""A delivery's key, and the reader where each of several gets it apart."""
Ask = Callable[[str], Awaitable[list[Any]]]


class Ledger:
    """Asks by SQL, since every other way to ask is a part of what is tried."""

    def __init__(self, ask: Ask, *, shared: bool) -> None:
        self._ask = ask
        self._shared = shared

    async def standing(self) -> tuple[int, int]:
        """How many deliveries there are, and how many of them are unfinished."""
        [row] = await self._ask(
            "SELECT count(*), count(CASE WHEN state = 'pending' THEN 1 END) FROM deliveries"
        )
        return row[0], row[1]

    async def states(self) -> dict[str, str]:
        """Each delivery's state by its key."""
        return dict([tuple(row) for row in await self._ask("SELECT key, state FROM deliveries")])

    async def recorded(self) -> set[Sent]:
        """All that is known to be accepted."""
        sent = await self._ask("SELECT key FROM deliveries WHERE state = 'sent'")
        parts = await self._ask(
            "SELECT key, part FROM delivery_parts JOIN deliveries ON deliveries.id = delivery_id"
        )
        return {(key, None) for (key,) in sent} | {(key, part.removeprefix("rcpt:")) for key, part in parts}

    async def let_leases_end(self) -> None:
        """In no time the time in which PostgreSQL's leases run out after their holder's death.

        At the next start over a SQLite store they are void by themselves.
        """
        if self._shared:
            await self._ask("UPDATE deliveries SET leased_until = 0 WHERE leased_until IS NOT NULL")
            await self._ask("UPDATE leaders SET leads_until = 0")
            await self._ask("UPDATE replicas SET attends_until = 0")


@asynccontextmanager
async def open_ledger(url: str) -> AsyncIterator[Ledger]:
    """The ledger of the store at ``url`` (``sqlite:///path`` or ``postgresql://…``), which must be there."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:

            async def ask(statement: str) -> list[Any]:
                return store.execute(statement).fetchall()

            yield Ledger(ask, shared=False)
        return
    import asyncpg  # noqa: PLC0415  a SQLite-only machine lacks it

    connection = await asyncpg.connect(url)
    try:
        yield Ledger(connection.fetch, shared=True)
    finally:
        await connection.close()
