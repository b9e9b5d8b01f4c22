"""Replicas that compete for leadership on one PostgreSQL database."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import monotonic
from typing import TypeVar

from cmc_notify.errors import StoreUnavailable
from cmc_notify.leadership import LeaderElection
from cmc_notify.ports import Fence, Leadership, Replicas
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics

T = TypeVar("T")
TTL, CHECK_EVERY = 1.2, 0.1
"""Long enough for a busy machine to renew in time."""
FOUR = ("apac", "emea", "latam", "us")


class Wire:
    """The store as one replica reaches it: it can be cut off, hang, or never return from single calls."""

    def __init__(self, store: Leadership, looked: asyncio.Event) -> None:
        self._store = store
        self._looked = looked
        self.cut = False
        self.open = asyncio.Event()
        self.open.set()
        self.takes = True

    async def _through(self, call: Callable[[], Awaitable[T]]) -> T:
        if self.cut:
            raise StoreUnavailable("store: connection refused")
        await self.open.wait()
        return await call()

    async def acquire(self, name: str, *, owner: str, ttl: float) -> Fence | None:
        """Acquire from the store, or nothing if this replica takes nothing."""
        if not self.takes:
            return None
        return await self._through(lambda: self._store.acquire(name, owner=owner, ttl=ttl))

    async def renew(self, fence: Fence, *, ttl: float) -> bool:
        """Call the store."""
        return await self._through(lambda: self._store.renew(fence, ttl=ttl))

    async def release(self, fence: Fence) -> None:
        """Call the store."""
        await self._through(lambda: self._store.release(fence))

    async def register(self, owner: str, names: Collection[str], *, ttl: float) -> Replicas:
        """Call the store."""
        found = await self._through(lambda: self._store.register(owner, names, ttl=ttl))
        self._looked.set()
        return found

    async def unregister(self, owner: str) -> None:
        """Call the store."""
        await self._through(lambda: self._store.unregister(owner))

    async def leaders(self) -> Mapping[str, str]:
        """Call the store."""
        return await self._through(self._store.leaders)


class Replica:
    """One process: it leads, and notes the controllers that it would poll."""

    def __init__(self, fleet: "Fleet", name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.wire = Wire(fleet.store.leadership, fleet.changed)
        self.metrics = Metrics()
        self.election = LeaderElection(
            self.wire, owner=name, metrics=self.metrics, ttl=TTL, check_every=CHECK_EVERY
        )
        self.fences: dict[str, Fence] = {}
        self.idle = asyncio.Event()
        self.idle.set()

    def start_polling(self, controller: str, fence: Fence) -> None:
        """Start to poll it: no one else may poll it."""
        if self.fleet.polled_by.get(controller, self) is not self:
            self.fleet.twice.append(controller)
        self.fleet.polled_by[controller] = self
        self.fences[controller] = fence
        self._note("lead", controller)

    def cancel_polling(self, controller: str) -> None:
        """Stop polling it."""
        self.fleet.polled_by.pop(controller)
        self._note("lose", controller)

    async def finish_polling(self, controller: str) -> None:
        """End when idle."""
        await self.idle.wait()
        self.fleet.polled_by.pop(controller)
        self._note("rest", controller)

    def _note(self, what: str, controller: str) -> None:
        self.fleet.history.append((what, controller, self.name))
        self.fleet.changed.set()

    def die(self) -> None:
        """Die as by SIGKILL: nothing is renewed, nothing released."""
        assert self.election._running
        self.election._running.cancel()
        for lead in self.election._leads.values():
            lead.expiry.cancel()
        self._poll_nothing()

    async def stop(self) -> None:
        """Stop as by SIGTERM: polls end first."""
        self._poll_nothing()
        await self.election.stop()

    def _poll_nothing(self) -> None:
        for controller in [name for name, by in self.fleet.polled_by.items() if by is self]:
            del self.fleet.polled_by[controller]

    def knows(self, other: str) -> bool:
        """Return True if it has seen another."""
        return other in self.election._seen.candidates

    def gauge(self, controller: str) -> float | None:
        """The metric."""
        return self.metrics.registry.get_sample_value("cmc_notify_leads", {"controller": controller})


class Fleet:
    """All replicas, and the one that polls each controller now."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.replicas: list[Replica] = []
        self.polled_by: dict[str, Replica] = {}
        self.history: list[tuple[str, str, str]] = []
        self.twice: list[str] = []
        self.changed = asyncio.Event()

    def add(self, name: str, controllers: Collection[str] = FOUR) -> Replica:
        """Start a replica."""
        replica = Replica(self, name)
        self.replicas.append(replica)
        replica.election.serve(controllers, replica)
        return replica

    def loads(self) -> Counter[str]:
        """Return the number of controllers of each replica."""
        return Counter(replica.name for replica in self.polled_by.values())

    async def until(self, reached: Callable[[], bool], *, within: float = 10) -> float:
        """Wait for it; returns the seconds that it took."""
        begun = monotonic()
        try:
            async with asyncio.timeout(within):
                while not reached():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"not so: {self.loads()}, {self.history}") from None
        return monotonic() - begun

    async def spread(self, *counts: int, within: float = 10) -> float:
        """Wait until so many are polled by each, in any order."""
        return await self.until(lambda: sorted(self.loads().values()) == sorted(counts), within=within)

    async def rests(self) -> None:
        """Check that no lead changes hands any more, for longer than a lead lasts."""
        before = len(self.history)
        await asyncio.sleep(TTL + 3 * CHECK_EVERY)
        assert self.history[before:] == []
