"""Deliveries of a store, claimed and read."""

from collections.abc import Awaitable, Callable

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.model import JobState
from cmc_notify.ports import Delivery, PollCommit
from cmc_notify.store import Store

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
Happen = Callable[..., Awaitable[str]]

SENT = AttemptResult(state=DeliveryState.SENT)
PROGRESS, FAILED = EventType.JOB_PROGRESS, EventType.JOB_FAILED


async def claimed(store: Store, sink: str = "chat", *, lease: float = 30, owner: str = "me") -> list[str]:
    """The ids of what may be sent now."""
    claims = await store.outbox.claim(sink, owner=owner, limit=10, lease=lease)
    return [one.delivery.id for one in claims]


async def row(store: Store, delivery_id: str) -> Delivery:
    """The ledger's delivery."""
    found = await store.ledger.delivery(delivery_id)
    assert found
    return found.delivery


async def states(store: Store, *delivery_ids: str) -> list[str]:
    """One word each."""
    return [(await row(store, each)).state.value for each in delivery_ids]
