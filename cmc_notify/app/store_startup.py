"""Open the store at the start, with retries, so that an outage ends when its cause is gone.

An error that waiting can't fix is raised at once: another bridge uses the store, its schema is newer than
this program, its address is not valid, its driver is missing. The exception is an address from a reload
during the wait: no config that is read during a run may end the bridge, and the next reload can fix it.
"""

import asyncio
from collections.abc import Callable

import structlog
from msgspec import Struct

from cmc_notify.app.link_signing import SECRET
from cmc_notify.errors import StoreError, StoreUnavailable
from cmc_notify.ports import Clock
from cmc_notify.store import Store, open_store

_log = structlog.get_logger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
"""Seconds between two tries; each wait is twice the one before."""
REMIND_EVERY = 300.0
"""Seconds until the log repeats a reason that stays the same."""


class OpenedStore(Struct, frozen=True):
    """An open store, the address by which it was opened, and the secret that signs its links."""

    store: Store
    url: str
    link_secret: bytes


class StoreOpener:
    """Opens the store once. ``trouble`` is the reason why it is not open; None during the first try."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged_at = 0.0
        self.trouble: str | None = None

    async def open(self, url: Callable[[], str]) -> OpenedStore:
        """Try until the store opens; ``url`` is called again for each try.

        Raises StoreError if waiting does not help, but only for the first address.
        """
        loop = asyncio.get_running_loop()
        began, wait, first = loop.time(), FIRST_WAIT, None
        while True:
            tried = url()
            first = tried if first is None else first
            try:
                opened = await self._try(tried)
            except StoreError as error:
                if tried == first and not isinstance(error, StoreUnavailable):
                    raise
                self._log_trouble(str(error), loop.time())
            else:
                if opened.url != url():  # a reload came in between
                    await opened.store.close()
                    continue
                if self.trouble:
                    _log.info("store.opened", waited=round(loop.time() - began, 1))
                return opened
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _try(self, url: str) -> OpenedStore:
        store = await open_store(url, clock=self._clock, exclusive=True)
        try:
            return OpenedStore(store, url, await store.ledger.secret(SECRET))
        except BaseException:
            await store.close()
            raise

    def _log_trouble(self, trouble: str, now: float) -> None:
        if trouble != self.trouble or now - self._logged_at >= REMIND_EVERY:
            _log.error(
                "store.unavailable", error=trouble, next="the bridge tries again until the store opens"
            )
            self._logged_at = now
        self.trouble = trouble
