"""One attempt at a sink: limited in time, and an exception becomes an outcome too."""

import asyncio
from collections.abc import Callable
from math import isfinite

import structlog
from msgspec.structs import replace

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.core.events import Event, as_shown
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.errors import StoreError
from cmc_notify.ports import Claim, Delivery, Message, Outbox, Posting, Sink

_log = structlog.get_logger(__name__)

OUTCOME_LABELS = {
    Sent: "sent",
    RetryLater: "retry",
    Unclear: "unclear",
    Rejected: "rejected",
    Blocked: "blocked",
}
"""The words of the outcomes in the metrics."""


def _validated(outcome: SendOutcome) -> SendOutcome:
    """Return the outcome with fields of the right types. Raises TypeError for anything but an outcome.

    A third-party sink may have no type checker, and an accepted message must not be sent again because its
    receipt is a number.
    """
    match outcome:
        case Sent(receipt):
            return Sent(None if receipt is None else str(receipt))
        case RetryLater(reason, after):
            known = isinstance(after, int | float) and isfinite(after)
            return RetryLater(str(reason), after if known else None)
        case Unclear(reason):
            return Unclear(str(reason))
        case Rejected(reason):
            return Rejected(str(reason))
        case Blocked(reason):
            return Blocked(str(reason))
    raise TypeError(f"{type(outcome).__name__} is not an outcome")


class Attempts:
    """Makes attempts at one sink. Each is cancelled ``margin`` seconds after its ``timeout``, in seconds."""

    def __init__(
        self,
        sink: Sink,
        outbox: Outbox,
        *,
        timeout: float,
        margin: float,
        sign_link: Callable[[Event, Delivery], str | None],
    ) -> None:
        self._sink = sink
        self._outbox = outbox
        self._timeout = timeout
        self._margin = margin
        self._sign_link = sign_link

    async def make(self, claim: Claim) -> SendOutcome:
        """Send the delivery once. Raises nothing, unless the calling task is cancelled."""
        delivery = claim.delivery

        async def record(part: str, receipt: str, *, posting: Posting | None = None) -> None:
            reached(Boundary.DELIVERY_PART_ACCEPTED)
            await self._outbox.record_part(delivery.id, str(part), str(receipt), posting=posting)
            reached(Boundary.DELIVERY_PART_RECORDED)

        try:
            async with asyncio.timeout(self._timeout + self._margin):
                outcome = _validated(await self._sink.send(self._message(claim), record))
        except TimeoutError:
            return Unclear(f"no response within {self._timeout:g} s")
        except StoreError as error:
            return Unclear(f"the store failed while sending: {error}")
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return self._bug(
                delivery, error
            )  # not our own cancellation: something inside the sink was cancelled
        except Exception as error:  # noqa: BLE001  a third-party sink must not stop the others
            return self._bug(delivery, error)
        return outcome

    def _bug(self, delivery: Delivery, error: BaseException) -> Unclear:
        _log.error("sink.bug", sink=self._sink.name, delivery=delivery.id, exc_info=error)
        return Unclear(f"the sink failed: {type(error).__name__}")

    def _message(self, claim: Claim) -> Message:
        event, delivery = claim.event, claim.delivery
        event = as_shown(event, delivery.shown)
        return Message(
            key=delivery.key,
            event=replace(event, url=self._sign_link(event, delivery)),
            subject=delivery.subject,
            attempt=delivery.attempts + 1,
            unclear=delivery.unclear,
            parts=delivery.parts,
            purpose=delivery.purpose,
            posting=claim.posting,
            tickets=claim.tickets,
            acknowledged=claim.acknowledged,
            silenced=claim.silenced,
        )
