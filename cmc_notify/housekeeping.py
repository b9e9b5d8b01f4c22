"""Delete old data from the store, and end deliveries for sinks that left the config."""

from collections.abc import Collection

import structlog

from cmc_notify.errors import StoreError
from cmc_notify.ports import Clock, Housekeeping

_log = structlog.get_logger(__name__)


class Housekeeper:
    """The regular chores of the store; after a store error the next run tries again."""

    def __init__(
        self, store: Housekeeping, *, retention: float, sinks: Collection[str], clock: Clock
    ) -> None:
        """``retention`` is in seconds; ``sinks`` names all configured sinks."""
        self._store = store
        self._retention = retention
        self._sinks = frozenset(sinks)
        self._clock = clock

    async def delete_old(self) -> None:
        """Delete data that is older than the retention and no longer needed."""
        try:
            deleted = await self._store.forget(before=self._clock() - self._retention)
        except StoreError as error:
            _log.error("housekeeping.failed", error=str(error))
        else:
            _log.info("housekeeping.done", deleted=deleted)

    async def end_unserved(self) -> None:
        """Make dead letters of deliveries for sinks that left the config: they must not wait unseen."""
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
