"""The end of a store whose server does not answer any more."""

import asyncio
import time
from contextlib import suppress

import pytest

from cmc_notify.store import open_store
from support.postgres import PostgresServer


async def test_a_server_that_hangs_does_not_hold_up_the_end(postgresql_server: PostgresServer) -> None:
    """Pending work is abandoned, as by a crash, before we are killed for waiting."""
    asyncpg = pytest.importorskip("asyncpg", reason="no PostgreSQL: install the extra 'dev'")
    url = await postgresql_server.new_database()
    store = await open_store(url, clock=time.time, exclusive=True)
    other = await asyncpg.connect(url)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE leaders")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await store.leadership.acquire("poll:emea", owner="a", ttl=6)
            begun = time.monotonic()
            await store.close()
            assert time.monotonic() - begun < 4
    finally:
        await other.close()
