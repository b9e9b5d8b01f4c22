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
    """Each answer takes its time; ``often`` is set once every lead was renewed three times."""

    def __init__(self) -> None:
        self.renewed: Counter[str] = Counter()
        self.often = asyncio.Event()

    async def register(self, owner: str, names: Collection[str], *, ttl: float) -> Replicas:
        """We are alone."""
        assert ttl == TTL
        return Replicas(candidates={owner: frozenset(names)}, leaders={})

    async def acquire(self, name: str, *, owner: str, ttl: float) -> Fence | None:
        """It is free."""
        assert (owner, ttl) == ("a", TTL)
        await asyncio.sleep(0.03)
        return Fence(name, 1, owner)

    async def renew(self, fence: Fence, *, ttl: float) -> bool:
        """It is still ours."""
        assert ttl == TTL
        await asyncio.sleep(0.04)
        self.renewed[fence.name] += 1
        if len(self.renewed) == len(NAMES) and min(self.renewed.values()) >= 3:
            self.often.set()
        return True

    async def release(self, fence: Fence) -> None:
        """At the end."""
        assert fence.token == 1

    async def unregister(self, owner: str) -> None:
        """As well."""
        assert owner == "a"

    async def leaders(self) -> dict[str, str]:
        """Nobody asks."""
        return {}


class Losses:
    """A follower that notes what it lost."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def start_polling(self, controller: str, fence: Fence) -> None:
        """What is taken."""
        assert fence.name.endswith(controller)

    def cancel_polling(self, controller: str) -> None:
        """Note it."""
        self.lost.append(controller)

    async def finish_polling(self, controller: str) -> None:
        """Nothing is given back."""
        raise AssertionError(f"nobody else could poll {controller}")


async def test_many_leads_are_kept_over_a_store_that_is_far_away() -> None:
    """To renew or take one after the other would take longer than a lead lasts; none is lost for that."""
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
