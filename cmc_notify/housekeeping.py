"""Keeps the store small and the gauges true: retention, and how deep the outbox is."""

import structlog

from cmc_notify.errors import StoreError
from cmc_notify.ports import Clock, Housekeeping, Ledger
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)


class Housekeeper:
    """Run now and then; a store that fails is left for the next time."""

    def __init__(
        self, store: Housekeeping, ledger: Ledger, *, retention: float, clock: Clock, metrics: Metrics
    ) -> None:
        """``retention`` in seconds."""
        self._store = store
        self._ledger = ledger
        self._retention = retention
        self._clock = clock
        self._metrics = metrics

    async def forget(self) -> None:
        """Delete what is older than the retention and no longer needed."""
        try:
            deleted = await self._store.forget(before=self._clock() - self._retention)
        except StoreError as error:
            _log.error("housekeeping.failed", error=str(error))
        else:
            _log.info("housekeeping.done", deleted=deleted)

    async def measure(self) -> None:
        """Read the outbox and the incidents into the metrics."""
        try:
            depths = await self._ledger.depths()
            incidents = await self._ledger.count_incidents()
        except StoreError as error:
            _log.error("housekeeping.failed", error=str(error))
            return
        now = self._clock()
        for depth in depths:
            if not depth.sink:
                continue
            oldest = 0.0 if depth.oldest_pending_at is None else max(now - depth.oldest_pending_at, 0.0)
            self._metrics.outbox_pending.labels(depth.sink).set(depth.pending)
            self._metrics.outbox_dead.labels(depth.sink).set(depth.dead)
            self._metrics.outbox_oldest_seconds.labels(depth.sink).set(oldest)
        for controller, count in incidents.items():
            self._metrics.incidents_open.labels(controller).set(count)
