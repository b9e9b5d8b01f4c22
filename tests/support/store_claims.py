"""Claims and results of deliveries in a store."""

from collections.abc import Sequence

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.ports import Claim, Delivery
from cmc_notify.store import Store

SENT = AttemptResult(state=DeliveryState.SENT, receipt="171.5")
DEAD = AttemptResult(state=DeliveryState.DEAD, error="400")


async def claim(store: Store, sink: str = "chat", *, limit: int = 10, lease: float = 30) -> Sequence[Claim]:
    """Return the ids that this process may send now."""
    return await store.outbox.claim(sink, owner="me", limit=limit, lease=lease)


async def claimed(store: Store, sink: str = "chat", *, limit: int = 10, lease: float = 30) -> list[str]:
    """The ids of :func:`claim`."""
    return [one.delivery.id for one in await claim(store, sink, limit=limit, lease=lease)]


async def finish(store: Store, delivery_id: str, result: AttemptResult = SENT) -> None:
    """Record a result as the holder of the lease."""
    assert await store.outbox.record(delivery_id, owner="me", result=result)


async def row(store: Store, delivery_id: str) -> Delivery:
    """The ledger's delivery."""
    found = await store.ledger.delivery(delivery_id)
    assert found
    return found.delivery
