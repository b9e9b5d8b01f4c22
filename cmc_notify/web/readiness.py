"""Readiness of the bridge: each controller's first poll was tried, and the store can be used.

The store is tried at most once a second, however many requests come: the test costs a write, and readiness
checks need no token.
"""

import asyncio
import time
from collections.abc import Sequence

from cmc_notify.errors import StoreError
from cmc_notify.ports import Ledger
from cmc_notify.web.status import StatusSource

PING_TIMEOUT = 3.0
"""Seconds; a store that does not respond by then can't be used, and checks give up soon after."""
PING_CACHE_TIME = 1.0
"""Seconds that the result of a test is used."""


class Readiness:
    """Finds the reasons why the bridge is not ready; no reason means ready."""

    def __init__(self, ledger: Ledger, status: StatusSource) -> None:
        self._ledger = ledger
        self._status = status
        self._one_at_a_time = asyncio.Lock()
        self._tried_at = float("-inf")
        self._trouble: str | None = None

    async def reasons(self) -> Sequence[str]:
        """Return why the bridge is not ready, one line each; only for clients that may read."""
        reasons = ["the bridge is stopping"] if self._status.stopping else []
        reasons += [
            f"the first poll of controller {live.name} is not finished yet"
            for live in self._status.controllers()
            if not live.tried and (live.polling or live.leader is None)
        ]
        trouble = await self._store_trouble()
        return [*reasons, trouble] if trouble else reasons

    async def _store_trouble(self) -> str | None:
        async with self._one_at_a_time:
            if time.monotonic() - self._tried_at > PING_CACHE_TIME:
                self._trouble = await self._ping_store()
                self._tried_at = time.monotonic()
            return self._trouble

    async def _ping_store(self) -> str | None:
        try:
            async with asyncio.timeout(PING_TIMEOUT):
                await self._ledger.ping()
        except TimeoutError:
            return f"the store did not respond within {PING_TIMEOUT:g} s"
        except StoreError as error:
            return store_trouble(str(error))
        return None


def store_trouble(reason: str) -> str:
    """Return one line that says why the store can't be used."""
    return f"the store can't be used: {reason}"
