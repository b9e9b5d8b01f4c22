"""Log each reason of a store outage once, as one sink's worker sees it, and its end once."""

from time import monotonic

import structlog

from cmc_notify.errors import StoreError
from cmc_notify.telemetry import LoggedReasons

_log = structlog.get_logger(__name__)


class StoreOutage:
    """An outage of the store, as the worker of one sink sees it."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._since: float | None = None
        self._reasons = LoggedReasons()

    @property
    def ongoing(self) -> bool:
        """True if the last call of the store failed."""
        return self._since is not None

    def note_failure(self, error: StoreError) -> None:
        """Note that a call of the store failed."""
        if self._since is None:
            self._since = monotonic()
        if self._reasons.is_new(reason := str(error)):
            _log.error("outbox.unavailable", sink=self._sink, error=reason)

    def note_recovery(self) -> None:
        """Note that the store works again."""
        if self._since is not None:
            _log.info("outbox.available", sink=self._sink, away=round(monotonic() - self._since, 1))
            self._since = None
            self._reasons.clear()
