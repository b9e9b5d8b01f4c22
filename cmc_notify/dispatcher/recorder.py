"""Record the result of each attempt: a known outcome is not lost while this process lives.

While the store fails, the result is kept and written as soon as the store accepts it, however long that
takes. Meanwhile its sink gets no other deliveries.
"""

import asyncio
from collections.abc import Iterable

import structlog

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.events import rfc3339
from cmc_notify.errors import StoreError
from cmc_notify.ports import Claim, Delivery, Outbox

_log = structlog.get_logger(__name__)

STORE_RETRY_AFTER = 1.0
"""Seconds to wait before the store is tried again after a failure."""


class Recorder:
    """Records the results of one sink."""

    def __init__(self, outbox: Outbox, *, owner: str) -> None:
        self._outbox = outbox
        self._owner = owner
        self._unrecorded: set[str] = set()

    @property
    def has_unrecorded(self) -> bool:
        """True if a result waits for the store."""
        return bool(self._unrecorded)

    async def record(self, delivery: Delivery, result: AttemptResult) -> None:
        """Write the result; returns once the store has it, or has given the delivery to another replica."""
        ours = None
        try:
            while ours is None:
                try:
                    ours = await self._outbox.record(delivery.id, owner=self._owner, result=result)
                except StoreError as error:
                    self._note_unrecorded(delivery, error)
                    await asyncio.sleep(STORE_RETRY_AFTER)
        finally:
            self._unrecorded.discard(delivery.id)
        if not ours:
            _log.warning("delivery.lease_lost", sink=delivery.sink, delivery=delivery.id)

    def _note_unrecorded(self, delivery: Delivery, error: StoreError) -> None:
        if delivery.id not in self._unrecorded:
            _log.error("delivery.not_recorded", sink=delivery.sink, delivery=delivery.id, error=str(error))
        self._unrecorded.add(delivery.id)

    async def give_back(self, claims: Iterable[Claim]) -> None:
        """End the leases of deliveries that were not sent; nothing else changes. Raises StoreError."""
        for claim in claims:
            untried = AttemptResult(
                state=DeliveryState.PENDING, unclear=claim.delivery.unclear, counts_as_attempt=False
            )
            await self._outbox.record(claim.delivery.id, owner=self._owner, result=untried)


def log_result(result: AttemptResult, delivery: Delivery, *, fallback: str | None) -> None:
    """Log the result of an attempt."""
    fields = {"sink": delivery.sink, "delivery": delivery.id, "attempt": delivery.attempts + 1}
    match result.state:
        case DeliveryState.SENT:
            _log.info("delivery.sent", **fields, receipt=result.receipt)
        case DeliveryState.DEAD:
            _log.error("delivery.dead", **fields, reason=result.error, fallback=fallback)
        case _:
            _log.warning("delivery.retry", **fields, reason=result.error, due_at=rfc3339(result.due_at))
