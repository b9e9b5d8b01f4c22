"""Replicas that share a real PostgreSQL: the leaders when one of them dies, hangs, joins or leaves."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from time import monotonic, time
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from cmc_notify.errors import StoreUnavailable
from cmc_notify.leadership import LeaderElection
from cmc_notify.ports import Fence, Leadership, Replicas
from cmc_notify.store import Store, open_store
from cmc_notify.telemetry import Metrics
from support.postgres import PostgresServer

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


@pytest.fixture
async def fleet(postgresql_server: PostgresServer) -> AsyncIterator[Fleet]:
    """A new store, and no replica yet."""
    store = await open_store(await postgresql_server.new_database(), clock=time, exclusive=True)
    made = Fleet(store)
    yield made
    for replica in made.replicas:
        replica.wire.open.set()
        replica.idle.set()
        await replica.stop()
    await store.close()
    assert made.twice == []


async def test_one_replica_leads_all_at_once(fleet: Fleet) -> None:
    """Alone it takes every lead in its first check, and shows it."""
    alone = fleet.add("one")
    await fleet.spread(4)
    assert [alone.election.is_leader(name) for name in FOUR] == [True] * 4
    assert [alone.gauge(name) for name in FOUR] == [1] * 4
    assert alone.election.leader("emea") == "one"
    assert fleet.history == [("lead", name, "one") for name in FOUR]


async def test_controllers_are_spread(fleet: Fleet) -> None:
    """A replica that joins gets a fair share, one that leaves gives up its leads, and then no lead moves."""
    fleet.add("one")
    await fleet.spread(4)
    two = fleet.add("two")
    await fleet.spread(2, 2)
    await fleet.rests()
    fleet.add("three")
    await fleet.spread(1, 1, 2)
    await fleet.rests()
    await two.stop()
    await fleet.spread(2, 2)


async def test_no_more_is_given_than_the_share(fleet: Fleet) -> None:
    """A lead given up and not yet taken counts as taken: no other is given up before."""
    one = fleet.add("one")
    await fleet.spread(4)
    two = Replica(fleet, "two")
    two.wire.takes = False
    fleet.replicas.append(two)
    two.election.serve(FOUR, two)
    await fleet.until(lambda: fleet.loads() == {"one": 2})
    for _ in range(3):
        seen = one.election._seen
        await fleet.until(lambda seen=seen: one.election._seen is not seen)  # type: ignore[misc]  # bound now
    assert fleet.loads() == {"one": 2}
    two.wire.takes = True
    await fleet.spread(2, 2)


async def test_who_starts_together_shares(fleet: Fleet) -> None:
    """Two replicas that start at the same moment move no lead."""
    fleet.add("one")
    fleet.add("two")
    await fleet.spread(2, 2)
    assert {what for what, _, _ in fleet.history} <= {"lead", "rest"}


async def test_a_dead_leader_is_replaced(fleet: Fleet) -> None:
    """After its leads have expired, under greater fences; not before."""
    one = fleet.add("one")
    await fleet.spread(4)
    two = fleet.add("two")
    await fleet.spread(2, 2)
    one.die()
    took = await fleet.spread(4)
    assert took > TTL - 2 * CHECK_EVERY
    assert all(two.fences[name].token > one.fences[name].token for name in FOUR if name in two.fences)
    assert two.election.leader("emea") == "two"


async def test_a_stopped_leader_is_replaced_at_once(fleet: Fleet) -> None:
    """Nobody has to wait for the leads that it gives up."""
    one = fleet.add("one")
    await fleet.spread(4)
    one.idle.clear()
    two = fleet.add("two")
    await fleet.until(lambda: one.knows("two"))
    await one.stop()
    assert await fleet.spread(4) < TTL - 3 * CHECK_EVERY
    assert fleet.polled_by["us"] is two
    assert [one.gauge(name) for name in FOUR] == [0] * 4


async def test_a_poll_that_runs_comes_to_its_end_first(fleet: Fleet) -> None:
    """A lead that is being given up is renewed until the poll has ended, however long that takes."""
    one = fleet.add("one")
    one.idle.clear()
    await fleet.spread(4)
    fleet.add("two")
    await fleet.rests()
    assert fleet.loads() == {"one": 4}
    one.idle.set()
    await fleet.spread(2, 2)


async def test_a_leader_that_loses_the_store_stops_by_its_own_clock(fleet: Fleet) -> None:
    """A store that responds to others but not to this leader: it stops before another starts."""
    one = fleet.add("one", ["emea"])
    await fleet.spread(1)
    two = fleet.add("two", ["emea"])
    await fleet.until(lambda: two.election.leader("emea") == "one")
    with capture_logs() as log:
        one.wire.open.clear()
        await fleet.until(lambda: fleet.polled_by.get("emea") is two)
    assert fleet.history[-2:] == [("lose", "emea", "one"), ("lead", "emea", "two")]
    assert [line["log_level"] for line in log if line["event"] == "lead.lost"] == ["warning"]
    assert one.election.leader("emea") is None
    one.wire.open.set()
    await fleet.rests()
    assert one.election.leader("emea") == "two"


async def test_a_leader_that_was_replaced_stops(fleet: Fleet) -> None:
    """If its lease is another's at the next check, it stops at once."""
    one = fleet.add("one", ["emea"])
    await fleet.spread(1)
    store = fleet.store.leadership
    await store.release(one.fences["emea"])
    thief = await store.acquire("poll:emea", owner="thief", ttl=TTL)
    assert thief
    assert await fleet.until(lambda: not fleet.polled_by) < TTL - 3 * CHECK_EVERY
    await fleet.until(lambda: fleet.polled_by.get("emea") is one)
    assert one.fences["emea"].token > thief.token


async def test_every_controller_has_a_leader_again_after_an_outage_of_the_store(fleet: Fleet) -> None:
    """While the store is down nobody leads, one line is logged, and afterwards all continue on their own."""
    both = [fleet.add("one"), fleet.add("two")]
    await fleet.spread(2, 2)
    with capture_logs() as log:
        for replica in both:
            replica.wire.cut = True
        await fleet.until(lambda: not fleet.polled_by)
        await asyncio.sleep(3 * CHECK_EVERY)
        for replica in both:
            replica.wire.cut = False
        await fleet.spread(2, 2)
    failed = [line for line in log if line["event"] == "leadership.failed"]
    assert len(failed) == 2
    assert failed[0]["error"] == "store: connection refused"


async def test_replicas_with_different_controllers_get_on(fleet: Fleet) -> None:
    """As in a rolling change of the config: each controller keeps a leader that has it in its config."""
    fleet.add("old", ["apac", "emea", "us"])
    fleet.add("new", ["emea", "latam"])
    await fleet.until(lambda: fleet.polled_by.keys() == set(FOUR))
    await fleet.until(lambda: fleet.loads() == {"old": 2, "new": 2})
    await fleet.rests()


async def test_nothing_stays_free_because_another_should_take_it(fleet: Fleet) -> None:
    """The others wait for a replica that takes nothing as long as a lead lasts, but only once."""
    idler = Replica(fleet, "idler")
    idler.wire.takes = False
    fleet.replicas.append(idler)
    idler.election.serve(FOUR, idler)
    await fleet.until(lambda: idler.knows("idler"))
    fleet.add("one")
    assert await fleet.spread(4) > TTL / 2
    await fleet.rests()


async def test_a_reload_keeps_the_leads(fleet: Fleet) -> None:
    """The next handler polls at once under the same fence; removed controllers go, new ones are taken."""
    one = fleet.add("one", ["apac", "emea"])
    await fleet.spread(2)
    before = one.fences["emea"]
    fleet.history.clear()
    one.election.serve(["emea", "us"], one)
    assert fleet.history == [("lead", "emea", "one")]
    await fleet.until(lambda: fleet.polled_by.keys() == {"emea", "us"})
    assert one.fences["emea"] == before
    assert (one.gauge("apac"), one.gauge("emea"), one.gauge("us")) == (None, 1, 1)
    fleet.add("two", ["apac"])
    await fleet.until(lambda: "apac" in fleet.polled_by, within=TTL - 2 * CHECK_EVERY)


async def test_who_hangs_lets_another_try(fleet: Fleet) -> None:
    """A controller whose polls hang here goes to another replica, and does not return at once."""
    one = fleet.add("one", ["emea"])
    await fleet.spread(1)
    one.election.step_down("emea")  # there is no other
    await fleet.rests()
    two = fleet.add("two", ["emea"])
    await fleet.until(lambda: one.knows("two"))
    one.election.step_down("emea")
    await fleet.until(lambda: fleet.polled_by.get("emea") is two)
    await fleet.rests()


async def test_the_end_does_not_wait_for_a_store_that_hangs(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release of leads has a short limit, and the log says that others have to wait."""
    monkeypatch.setattr("cmc_notify.leadership.RELEASE_WITHIN", 0.1)
    one = fleet.add("one", ["emea"])
    await fleet.spread(1)
    one.wire.open.clear()
    begun = monotonic()
    with capture_logs() as log:
        await one.election.stop()
    assert monotonic() - begun < 1
    assert "leadership.not_released" in [line["event"] for line in log]
