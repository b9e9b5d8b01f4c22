"""A dead man's switch: show an outside service that every controller is polled, and the store works.

A call is made once every configured controller has had a good poll, committed by whichever replica, since
the call before. So the calls stop when the bridge, its store, its network or one controller's polls do.
A call never delays a poll, and there is one at a time.
"""

import asyncio
from collections.abc import Collection, Mapping

import structlog
from pydantic import SecretStr

from cmc_notify.errors import StoreError
from cmc_notify.net import HttpClient, NetworkError, url_secrets
from cmc_notify.ports import Ledger
from cmc_notify.settings.base import TlsSettings
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

TIMEOUT = 10.0
"""Seconds that one call may take."""

Polled = Mapping[str, float | None]
"""By controller, the time at which its last good poll was committed."""


class Heartbeat:
    """Calls ``url`` after each good cycle. The address is a secret: no log and no error ever holds it."""

    def __init__(
        self,
        url: SecretStr,
        controllers: Collection[str],
        ledger: Ledger,
        *,
        metrics: Metrics,
        timeout: float = TIMEOUT,
    ) -> None:
        self._url = url
        self._controllers = tuple(controllers)
        self._ledger = ledger
        self._metrics = metrics
        self._timeout = timeout
        self._poll_committed = asyncio.Event()
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    def on_polled(self) -> None:
        """Note that a poll was committed; returns at once."""
        self._poll_committed.set()

    def start(self) -> None:
        """Count polls from now on."""
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """Stop; a call under way is cancelled. Harmless if never started."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        # Times are compared only with each other: another replica with its own clock may have set them.
        counted = await self._last_polls()
        while True:
            await self._poll_committed.wait()
            self._poll_committed.clear()
            now = await self._last_polls()
            if counted is None:
                counted = now
            elif now is not None and all(
                now[name] not in (None, counted[name]) for name in self._controllers
            ):
                counted = now
                self._note(await self._call())

    async def _last_polls(self) -> Polled | None:
        """Return the times from the store; None if it fails, and then the cycle is not complete."""
        try:
            metas = await self._ledger.snapshots()
        except StoreError:
            return None  # polls fail for the same reason, and log it
        return {name: meta.last_poll_at if (meta := metas.get(name)) else None for name in self._controllers}

    async def _call(self) -> str | None:
        """One call; returns why it failed."""
        url = self._url.get_secret_value()
        client = HttpClient(TlsSettings(), timeout=self._timeout, secrets=lambda: url_secrets(url))
        try:
            response = await client.request("GET", url)
        except NetworkError as error:
            return str(error)
        finally:
            await client.close()
        return None if response.ok else f"status {response.status}"

    def _note(self, failure: str | None) -> None:
        self._metrics.heartbeats_total.labels("failed" if failure else "ok").inc()
        if failure and not self._failing:
            _log.warning("heartbeat.failed", error=failure, next="called again after the next good cycle")
        elif self._failing and not failure:
            _log.info("heartbeat.recovered")
        self._failing = bool(failure)
