"""Keeps the store small, and tells what in it nobody takes care of any more."""

from collections.abc import Collection

import structlog

from cmc_notify.errors import StoreError
from cmc_notify.ports import Clock, Housekeeping, Ledger

_log = structlog.get_logger(__name__)


class Housekeeper:
    """Run now and then; a store that fails is left for the next time."""

    def __init__(
        self,
        store: Housekeeping,
        ledger: Ledger,
        *,
        retention: float,
        sinks: Collection[str],
        clock: Clock,
    ) -> None:
        """``retention`` in seconds; ``sinks`` are the configured ones."""
        self._store = store
        self._ledger = ledger
        self._retention = retention
        self._sinks = frozenset(sinks)
        self._clock = clock

    async def keep(self) -> None:
        """Delete what is older than the retention and no longer needed; name the sinks that nobody serves."""
        try:
            deleted = await self._store.forget(before=self._clock() - self._retention)
            await self._tell_unserved()
        except StoreError as error:
            _log.error("housekeeping.failed", error=str(error))
        else:
            _log.info("housekeeping.done", deleted=deleted)

    async def _tell_unserved(self) -> None:
        """What waits for a sink that left the config waits for good, and must not do so unseen."""
        for depth in await self._ledger.depths():
            if depth.sink and depth.pending and depth.sink not in self._sinks:
                _log.warning(
                    "outbox.unserved",
                    sink=depth.sink,
                    pending=depth.pending,
                    remedy="configure the sink again under this name, and they go out",
                )
