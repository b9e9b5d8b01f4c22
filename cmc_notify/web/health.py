"""Health checks and metrics, for programs that watch the bridge."""

import time
from contextlib import suppress

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from cmc_notify.errors import StoreError
from cmc_notify.ports import Clock, Ledger
from cmc_notify.telemetry import Metrics
from cmc_notify.web.access import Access
from cmc_notify.web.overview import overview
from cmc_notify.web.readiness import Readiness
from cmc_notify.web.status import StatusSource


class Health:
    """Serves ``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        status: StatusSource,
        readiness: Readiness,
        metrics: Metrics,
        access: Access,
        clock: Clock = time.time,
    ) -> None:
        self._ledger = ledger
        self._status = status
        self._readiness = readiness
        self._metrics = metrics
        self._access = access
        self._clock = clock
        self._polled_at: dict[str, float] = {}

    async def show_alive(self, _request: web.Request) -> web.Response:
        """Return 200 while the process responds; needs no other system, so no outage restarts the bridge."""
        return web.Response(text="ok\n")

    async def show_ready(self, request: web.Request) -> web.Response:
        """Return 200, or 503 with the reasons; a client that may not read gets only ``not ready``."""
        reasons = await self._readiness.reasons()
        if not reasons:
            return web.Response(text="ready\n")
        shown = reasons if await self._access.may_read(request) else []
        return web.Response(status=503, text="\n".join(["not ready", *shown, ""]))

    async def show_metrics(self, _request: web.Request) -> web.Response:
        """Return Prometheus text. The store is read now; if it can't be used, the last values stay."""
        with suppress(StoreError):
            await self._read_store()
        self._update_poll_lag()
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _read_store(self) -> None:
        now, metrics = self._clock(), self._metrics
        seen = await overview(self._ledger, self._status)
        for controller in seen.controllers:
            metrics.failures_open.labels(controller.name).set(controller.open_failures)
            if controller.live is None:
                continue  # no longer in the config: the age of its last poll would alert for ever
            metrics.malformed_jobs.labels(controller.name).set(len(controller.meta.malformed))
            if controller.meta.last_poll_at is not None:
                self._polled_at[controller.name] = controller.meta.last_poll_at
                metrics.last_poll_timestamp_seconds.labels(controller.name).set(controller.meta.last_poll_at)
        for sink in seen.sinks:
            oldest = sink.depth.oldest_pending_at
            metrics.outbox_pending.labels(sink.name).set(sink.depth.pending)
            metrics.outbox_dead.labels(sink.name).set(sink.depth.dead)
            metrics.outbox_oldest_seconds.labels(sink.name).set(max(0.0, now - oldest) if oldest else 0.0)
            if sink.live is not None:
                metrics.sink_blocked.labels(sink.name).set(sink.live.blocked is not None)

    def _update_poll_lag(self) -> None:
        """Set the lag from the last known poll: it also grows while the store can't be read."""
        for live in self._status.controllers():
            if live.name in self._polled_at:
                lag = max(0.0, self._clock() - self._polled_at[live.name])
                self._metrics.poll_lag_seconds.labels(live.name).set(lag)
