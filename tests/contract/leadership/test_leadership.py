"""Replicas that share a real PostgreSQL: the leaders when one of them dies, hangs, joins or leaves."""

from support.leader_fleet import CHECK_EVERY, FOUR, TTL, Fleet, Replica


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
