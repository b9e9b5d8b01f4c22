"""Fixtures for tests of leadership."""

from collections.abc import AsyncIterator
from time import time

import pytest

from cmc_notify.store import open_store
from support.leader_fleet import Fleet
from support.postgres import PostgresServer


@pytest.fixture
async def fleet(postgresql_server: PostgresServer) -> AsyncIterator[Fleet]:
    """A new store, and no replica yet."""
    store = await open_store(await postgresql_server.new_database(), clock=time, exclusive=True)
    made = Fleet(store)
    yield made
    for replica in made.replicas:
        replica.wire.open.set()
        replica.idle.set()
        await replica.stop()
    await store.close()
    assert made.twice == []
