"""Says once that the store is away from a sink's deliveries, for each reason, and once that it is back."""

from time import monotonic

import structlog

from cmc_notify.errors import StoreError

_log = structlog.get_logger(__name__)

MOST_REASONS = 5
"""In one outage; a reason that is never twice the same must not fill the log."""


class Outage:
    """Of the store, as the worker of one sink sees it."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._since: float | None = None
        self._told: set[str] = set()

    @property
    def lasts(self) -> bool:
        """Whether the store failed when it was last asked."""
        return self._since is not None

    def shows(self, error: StoreError) -> None:
        """The store failed."""
        if self._since is None:
            self._since = monotonic()
        # What breaks a connection is often not why the next one can't be had, and that names the remedy.
        if (reason := str(error)) not in self._told and len(self._told) < MOST_REASONS:
            self._told.add(reason)
            _log.error("outbox.unavailable", sink=self._sink, error=reason)

    def is_over(self) -> None:
        """The store answers again."""
        if self._since is not None:
            _log.info("outbox.available", sink=self._sink, away=round(monotonic() - self._since, 1))
            self._since = None
            self._told.clear()
