"""A store in an outage, and after it."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from cmc_notify.errors import StoreUnavailable
from cmc_notify.store import Store


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
