"""Test a PostgreSQL server that is late, away, or takes no writes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from cmc_notify.simulator import Simulator
from cmc_notify.simulator.receiver import Receiver
from support.bridge_process import BridgeProcess
from support.postgres import PostgresServer, postgres_server
from support.store_faults import (
    config,
    fail_jobs,
    in_trouble,
    named,
    readiness,
    told,
    waiting,
)

# --- PostgreSQL -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be stopped: nobody else's tests use it."""
    pytest.importorskip("asyncpg", reason="no PostgreSQL: install the extra 'dev'")
    with postgres_server() as started:
        yield started


async def test_a_server_that_comes_up_after_the_bridge(
    server: PostgresServer, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """A database that refuses connections at the start is waited for."""
    settings = config(sim, receiver, await server.new_database())
    await asyncio.to_thread(server.stop)
    try:
        async with waiting(tmp_path, settings, "check that the database runs") as process:
            await asyncio.to_thread(server.start)
            await process.wait(lambda log: bool(named(log, "bridge.started")))
            await told(receiver, 2)
    finally:
        await asyncio.to_thread(server.start)


async def test_a_server_that_goes_away_for_a_while(
    server: PostgresServer, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """What fails while the database is away is told once it is back, each failure once."""
    process = BridgeProcess(tmp_path, config(sim, receiver, await server.new_database()))
    try:
        await process.start()
        await told(receiver, 2)
        for total in (4, 6):
            await asyncio.to_thread(server.stop)
            try:
                fail_jobs(sim, 2)
                async with in_trouble(process, "check that the database runs|shutting down|terminat"):
                    pass
            finally:
                await asyncio.to_thread(server.start)
            await told(receiver, total)
        await readiness(process, "ready\n")
        assert await process.stop() == 0
    finally:
        await process.kill()


async def test_a_server_that_takes_no_writes_for_a_while(
    server: PostgresServer, tmp_path: Path, sim: Simulator, receiver: Receiver
) -> None:
    """A database that can only be read, as after a fail-over, is named; once it takes writes all goes on."""
    url = await server.new_database()
    name = make_url(url).database
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';"
    process = BridgeProcess(tmp_path, config(sim, receiver, url))
    try:
        await process.start()
        await told(receiver, 2)
        await asyncio.to_thread(
            server.run, f"ALTER DATABASE {name} SET default_transaction_read_only = on; {cut}"
        )
        fail_jobs(sim, 2)
        async with in_trouble(process, "accepts no writes; point store.url at the primary"):
            pass
        await asyncio.to_thread(
            server.run, f"ALTER DATABASE {name} RESET default_transaction_read_only; {cut}"
        )
        await told(receiver, 4)
        await readiness(process, "ready\n")
        assert await process.stop() == 0
    finally:
        await process.kill()
