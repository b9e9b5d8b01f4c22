"""Keeps the store small, and ends what in it nobody takes care of any more."""

from collections.abc import Collection

import structlog

from cmc_notify.errors import StoreError
from cmc_notify.ports import Clock, Housekeeping

_log = structlog.get_logger(__name__)


class Housekeeper:
    """Run now and then; a store that fails is left for the next time."""

    def __init__(
        self, store: Housekeeping, *, retention: float, sinks: Collection[str], clock: Clock
    ) -> None:
        """``retention`` in seconds; ``sinks`` are the configured ones, all of them."""
        self._store = store
        self._retention = retention
        self._sinks = frozenset(sinks)
        self._clock = clock

    async def delete_old(self) -> None:
        """Delete what is older than the retention and no longer needed."""
        try:
            deleted = await self._store.forget(before=self._clock() - self._retention)
        except StoreError as error:
            _log.error("housekeeping.failed", error=str(error))
        else:
            _log.info("housekeeping.done", deleted=deleted)

    async def end_unserved(self) -> None:
        """What waits for a sink that left the config becomes a dead letter: it must not wait unseen."""
        try:
            ended = await self._store.end_unserved(self._sinks)
        except StoreError as error:
            _log.error("housekeeping.failed", error=str(error))
            return
        for sink, count in ended.items():
            _log.warning(
                "outbox.sink_removed",
                sink=sink,
                dead=count,
                remedy="configure the sink again under this name, then: cmc-notify deliveries retry --dead",
            )
