"""Replicas that share a real PostgreSQL: who polls what, when one of them dies, hangs, joins or leaves."""

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
    """The store as one replica reaches it: it can be cut, hang, or leave single calls unanswered."""

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
        """As the store's, or nothing where this replica takes nothing."""
        if not self.takes:
            return None
        return await self._through(lambda: self._store.acquire(name, owner=owner, ttl=ttl))

    async def renew(self, fence: Fence, *, ttl: float) -> bool:
        """As the store's."""
        return await self._through(lambda: self._store.renew(fence, ttl=ttl))

    async def release(self, fence: Fence) -> None:
        """As the store's."""
        await self._through(lambda: self._store.release(fence))

    async def register(self, owner: str, names: Collection[str], *, ttl: float) -> Replicas:
        """As the store's."""
        found = await self._through(lambda: self._store.attend(owner, names, ttl=ttl))
        self._looked.set()
        return found

    async def unregister(self, owner: str) -> None:
        """As the store's."""
        await self._through(lambda: self._store.leave(owner))

    async def leaders(self) -> Mapping[str, str]:
        """As the store's."""
        return await self._through(self._store.leaders)


class Replica:
    """One process: it leads, and notes what it would poll."""

    def __init__(self, fleet: "Fleet", name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.wire = Wire(fleet.store.leadership, fleet.changed)
        self.metrics = Metrics()
        self.election = LeaderElection(self.wire, owner=name, metrics=self.metrics, ttl=TTL, check_every=CHECK_EVERY)
        self.fences: dict[str, Fence] = {}
        self.idle = asyncio.Event()
        self.idle.set()

    def start_polling(self, controller: str, fence: Fence) -> None:
        """Poll it: no one else may be doing so."""
        if self.fleet.polled_by.get(controller, self) is not self:
            self.fleet.twice.append(controller)
        self.fleet.polled_by[controller] = self
        self.fences[controller] = fence
        self._note("lead", controller)

    def cancel_polling(self, controller: str) -> None:
        """Poll it no longer."""
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
        """As SIGKILL: nothing is renewed, nothing released."""
        assert self.election._running
        self.election._running.cancel()
        for lead in self.election._leads.values():
            lead.expiry.cancel()
        self._poll_nothing()

    async def stop(self) -> None:
        """As SIGTERM: polls end first."""
        self._poll_nothing()
        await self.election.stop()

    def _poll_nothing(self) -> None:
        for controller in [name for name, by in self.fleet.polled_by.items() if by is self]:
            del self.fleet.polled_by[controller]

    def knows(self, other: str) -> bool:
        """Whether it has seen another."""
        return other in self.election._seen.candidates

    def gauge(self, controller: str) -> float | None:
        """The metric."""
        return self.metrics.registry.get_sample_value("cmc_notify_leads", {"controller": controller})


class Fleet:
    """All replicas, and who polls what at this moment."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.replicas: list[Replica] = []
        self.polled_by: dict[str, Replica] = {}
        self.history: list[tuple[str, str, str]] = []
        self.twice: list[str] = []
        self.changed = asyncio.Event()

    def add(self, name: str, controllers: Collection[str] = FOUR) -> Replica:
        """A replica that begins now."""
        replica = Replica(self, name)
        self.replicas.append(replica)
        replica.election.serve(controllers, replica)
        return replica

    def loads(self) -> Counter[str]:
        """How many controllers each polls."""
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
        """See that nothing changes hands any more, for longer than a lead lasts."""
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
    """Alone it takes everything in its first look, and says so."""
    alone = fleet.add("one")
    await fleet.spread(4)
    assert [alone.election.is_leader(name) for name in FOUR] == [True] * 4
    assert [alone.gauge(name) for name in FOUR] == [1] * 4
    assert alone.election.leader("emea") == "one"
    assert fleet.history == [("lead", name, "one") for name in FOUR]


async def test_controllers_are_spread(fleet: Fleet) -> None:
    """Whoever joins gets a fair share, whoever leaves hands his over, and then nothing changes hands."""
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
    """What was given and not yet taken counts as taken: it is waited for before more is given."""
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
    """Two replicas that begin at the same moment need no change of hands."""
    fleet.add("one")
    fleet.add("two")
    await fleet.spread(2, 2)
    assert {what for what, _, _ in fleet.history} <= {"lead", "rest"}


async def test_a_dead_leader_is_replaced(fleet: Fleet) -> None:
    """After its leads have ended, under greater fences; not before."""
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
    """What it gives up nobody has to wait for."""
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
    """A lead that is given to another is renewed until the poll is over, however long that takes."""
    one = fleet.add("one")
    one.idle.clear()
    await fleet.spread(4)
    fleet.add("two")
    await fleet.rests()
    assert fleet.loads() == {"one": 4}
    one.idle.set()
    await fleet.spread(2, 2)


async def test_a_leader_that_loses_the_store_stops_by_its_own_clock(fleet: Fleet) -> None:
    """A store that does not answer it, though it answers others: it stops before another begins."""
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


async def test_a_leader_that_was_replaced_learns_of_it(fleet: Fleet) -> None:
    """Where its lease is another's at the next look, it stops at once."""
    one = fleet.add("one", ["emea"])
    await fleet.spread(1)
    store = fleet.store.leadership
    await store.release(one.fences["emea"])
    thief = await store.acquire("poll:emea", owner="thief", ttl=TTL)
    assert thief
    assert await fleet.until(lambda: not fleet.polled_by) < TTL - 3 * CHECK_EVERY
    await fleet.until(lambda: fleet.polled_by.get("emea") is one)
    assert one.fences["emea"].token > thief.token


async def test_an_outage_of_the_store_ends_with_everything_led_again(fleet: Fleet) -> None:
    """While the store is away nobody leads, one line tells of it, and afterwards all goes on by itself."""
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
    """As during a rolling change of the config: each controller is led by one that has it, for good."""
    fleet.add("old", ["apac", "emea", "us"])
    fleet.add("new", ["emea", "latam"])
    await fleet.until(lambda: fleet.polled_by.keys() == set(FOUR))
    await fleet.until(lambda: fleet.loads() == {"old": 2, "new": 2})
    await fleet.rests()


async def test_nothing_stays_free_because_another_should_take_it(fleet: Fleet) -> None:
    """A replica that is there and takes nothing is waited for as long as a lead lasts, but only once."""
    idler = Replica(fleet, "idler")
    idler.wire.takes = False
    fleet.replicas.append(idler)
    idler.election.serve(FOUR, idler)
    await fleet.until(lambda: idler.knows("idler"))
    fleet.add("one")
    assert await fleet.spread(4) > TTL / 2
    await fleet.rests()


async def test_a_reload_keeps_what_is_led(fleet: Fleet) -> None:
    """The next follower polls at once under the same fence; what left the config goes, what came is taken."""
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
    """A controller whose polls hang here goes to another replica, and does not come back at once."""
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
    """A moment is allowed for giving up, and it is said that others have to wait."""
    monkeypatch.setattr("cmc_notify.leadership.RELEASE_WITHIN", 0.1)
    one = fleet.add("one", ["emea"])
    await fleet.spread(1)
    one.wire.open.clear()
    begun = monotonic()
    with capture_logs() as log:
        await one.election.stop()
    assert monotonic() - begun < 1
    assert "leadership.not_released" in [line["event"] for line in log]
