"""The links in messages: signed with a secret of the store, which ``cmc-notify links revoke`` replaces.

A link is verified with the secret of that moment, so a revoked one opens nothing from then on. New links are
signed with a copy that is at most ``REFRESH_EVERY`` seconds old.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from cmc_notify.core.events import Event
from cmc_notify.core.links import Links
from cmc_notify.errors import StoreError
from cmc_notify.ports import Delivery, Ledger
from cmc_notify.settings import Settings

SECRET = "event-links"  # noqa: S105  its name in the store
REFRESH_EVERY = 5.0

_log = structlog.get_logger(__name__)


class LinkSigner:
    """Signs and verifies the links of one bridge."""

    def __init__(
        self, ledger: Ledger, secret: bytes, external_url: str | None, *, refresh_every: float = REFRESH_EVERY
    ) -> None:
        self._ledger = ledger
        self._secret = secret
        self._external_url = external_url
        self._refresh_every = refresh_every
        self._links = Links(secret, external_url)

    async def links(self) -> Links:
        """Return what verifies links now. Raises StoreUnavailable."""
        secret = await self._ledger.secret(SECRET)
        if secret != self._secret:
            self._secret = secret
            self._links = Links(secret, self._external_url)
            _log.warning("links.revoked", effect="links in earlier messages open nothing any more")
        return self._links

    def signing(self, settings: Settings) -> Callable[[Event, Delivery], str | None]:
        """Return the function that writes the link of a delivery's message, as its sink wants it."""
        kinds = {name: sink.links for name, sink in settings.sinks.items()}

        def sign(event: Event, delivery: Delivery) -> str | None:
            kind = kinds.get(delivery.sink, "signed")
            if kind == "none":
                return None
            if kind == "sign_in":
                return self._links.page(event.id)
            issued = datetime.fromisoformat(event.time).timestamp()
            return self._links.event(event.id, issued, delivery=delivery.id)

        return sign

    async def keep_fresh(self) -> None:
        """Look for another secret from time to time, for ever."""
        while True:
            await asyncio.sleep(self._refresh_every)
            try:
                await self.links()
            except StoreError as error:
                _log.debug("links.not_read", error=str(error))
