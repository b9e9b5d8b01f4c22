"""Many controllers over a store that is far away."""

import asyncio
from collections import Counter
from collections.abc import Collection

from cmc_notify.leadership import LeaderElection
from cmc_notify.ports import Fence, Replicas
from cmc_notify.telemetry import Metrics

NAMES = [f"site{number}" for number in range(80)]
TTL = 2.0


class FarStore:
    """A slow store; ``often`` is set once every lead was renewed three times."""

    def __init__(self) -> None:
        self.renewed: Counter[str] = Counter()
        self.often = asyncio.Event()

    async def register(self, owner: str, names: Collection[str], *, ttl: float) -> Replicas:
        """Return no other replica."""
        assert ttl == TTL
        return Replicas(candidates={owner: frozenset(names)}, leaders={})

    async def acquire(self, name: str, *, owner: str, ttl: float) -> Fence | None:
        """Return a fence: it is free."""
        assert (owner, ttl) == ("a", TTL)
        await asyncio.sleep(0.03)
        return Fence(name, 1, owner)

    async def renew(self, fence: Fence, *, ttl: float) -> bool:
        """Renew late."""
        assert ttl == TTL
        await asyncio.sleep(0.04)
        self.renewed[fence.name] += 1
        if len(self.renewed) == len(NAMES) and min(self.renewed.values()) >= 3:
            self.often.set()
        return True

    async def release(self, fence: Fence) -> None:
        """Release at the end."""
        assert fence.token == 1

    async def unregister(self, owner: str) -> None:
        """Unregister."""
        assert owner == "a"

    async def leaders(self) -> dict[str, str]:
        """Not called."""
        return {}


class Losses:
    """A handler that notes the leads it lost."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def start_polling(self, controller: str, fence: Fence) -> None:
        """Note a lead."""
        assert fence.name.endswith(controller)

    def cancel_polling(self, controller: str) -> None:
        """Note it."""
        self.lost.append(controller)

    async def finish_polling(self, controller: str) -> None:
        """Not called."""
        raise AssertionError(f"nobody else could poll {controller}")


async def test_many_leads_are_kept_over_a_store_that_is_far_away() -> None:
    """To renew one after another would take longer than a lead lasts; yet none is lost."""
    store, losses = FarStore(), Losses()
    election = LeaderElection(store, owner="a", metrics=Metrics(), ttl=TTL, check_every=0.1)
    election.serve(NAMES, losses)
    try:
        async with asyncio.timeout(30):
            await store.often.wait()
        assert losses.lost == []
        assert all(map(election.is_leader, NAMES))
    finally:
        await election.stop()
