"""Stores that are slow or stand still."""

import asyncio

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.outcome import SendOutcome, Unclear
from cmc_notify.ports import Delivery, Message, PartRecorder

LOST = Unclear("connection reset")


def sent(row: Delivery) -> bool:
    """Return True if a delivery is sent."""
    return row.state is DeliveryState.SENT


def dead(row: Delivery) -> bool:
    """Return True if a delivery was given up."""
    return row.state is DeliveryState.DEAD


def tried(row: Delivery) -> bool:
    """Return True if the first attempt is recorded."""
    return row.attempts == 1


class Held:
    """A sink's ``send`` that returns on a call of ``answer``."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[SendOutcome]] = []

    async def __call__(self, _message: Message, _record: PartRecorder) -> SendOutcome:
        """Wait."""
        future: asyncio.Future[SendOutcome] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return await future

    def answer(self, outcome: SendOutcome) -> None:
        """Return this from every waiting send."""
        for future in self.waiting:
            future.set_result(outcome)
        self.waiting.clear()
