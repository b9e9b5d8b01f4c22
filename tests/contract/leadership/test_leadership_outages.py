"""Test leaders that lose the store, hang, or are reloaded."""

import asyncio
from time import monotonic

import pytest
from structlog.testing import capture_logs

from support.leader_fleet import CHECK_EVERY, FOUR, TTL, Fleet, Replica


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
