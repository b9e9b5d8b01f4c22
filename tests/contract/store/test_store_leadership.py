"""Replicas: who leads, who may commit, and whose sends go on, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import msgspec
import pytest
from sqlalchemy import update

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.model import JobState
from cmc_notify.errors import LeadershipLost, StoreUnavailable
from cmc_notify.ports import Fence, PollCommit
from cmc_notify.store import Store, open_store, postgresql
from cmc_notify.store.tables import controllers, leaders, replicas

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
OpenAnother = Callable[..., Awaitable[Store]]
CommitEvent = Callable[..., Awaitable[list[str]]]


async def lead(store: Store, owner: str, *, ttl: float = 60, name: str = "emea") -> Fence | None:
    """The fence that the owner gets."""
    return await store.leadership.acquire(name, owner=owner, ttl=ttl)


async def test_one_leads(store: Store, open_another: OpenAnother) -> None:
    """While one leads no other does; asked again it goes on under the same fence; other names are free."""
    other = await open_another()
    fence = await lead(store, "a")
    assert fence
    assert await lead(other, "b") is None
    assert await lead(store, "a") == fence
    assert await lead(other, "b", name="apac") == Fence("apac", 1, "b")


async def test_of_many_at_once_one_leads(store: Store, open_another: OpenAnother) -> None:
    """However many ask for a free name at the same moment, one gets it, first and whenever it lapses."""
    stores = (store, await open_another(), await open_another())
    tokens = []
    for _ in range(4):
        fences = await asyncio.gather(
            *(lead(stores[number % 3], f"owner-{number}") for number in range(9)), return_exceptions=True
        )
        (fence,) = (found for found in fences if found is not None)
        assert isinstance(fence, Fence)
        tokens.append(fence.token)
        await store.leadership.renew(fence, ttl=0)
    # The one who led may be the first again, then under its old token.
    assert tokens == sorted(tokens)


async def test_who_falls_silent_is_replaced(store: Store, open_another: OpenAnother) -> None:
    """After its time another takes over under a greater token; the former can neither renew nor release."""
    other = await open_another()
    first = await lead(store, "a", ttl=0)
    assert first
    second = await lead(other, "b")
    assert second
    assert second.token > first.token
    assert not await store.leadership.renew(first, ttl=60)
    await store.leadership.release(first)
    assert await lead(store, "a") is None
    assert await other.leadership.renew(second, ttl=60)


async def test_renewing_keeps_the_lead(store: Store, open_another: OpenAnother) -> None:
    """An owner that renews in time goes on leading; a late one too, if nobody took over."""
    other = await open_another()
    fence = await lead(store, "a", ttl=0)
    assert fence
    assert await store.leadership.renew(fence, ttl=60)
    assert await lead(other, "b") is None
    assert not await store.leadership.renew(Fence("never led", 1, "a"), ttl=60)


async def test_giving_up_frees_at_once(store: Store, open_another: OpenAnother) -> None:
    """After a release another leads without waiting, and the same owner only under a new token."""
    other = await open_another()
    first = await lead(store, "a")
    assert first
    await store.leadership.release(first)
    assert not await store.leadership.renew(first, ttl=60)
    again = await lead(store, "a")
    assert again
    assert again.token > first.token
    await store.leadership.release(again)
    assert await lead(other, "b")


async def test_a_deposed_leader_commits_nothing(
    store: Store, open_another: OpenAnother, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """A poll under an outdated fence writes nothing, even where its snapshot is still the newest."""
    other = await open_another()
    old = await lead(store, "a", ttl=0)
    commit = make_commit(0, make_state(1), deliveries=({},), fence=old)
    new = await lead(other, "b")
    assert new
    for fence in (
        old,
        Fence("emea", new.token + 1, "b"),
        Fence("emea", new.token, "a"),
        Fence("nobody", 1, "b"),
    ):
        with pytest.raises(LeadershipLost, match="another replica leads"):
            await store.poll.commit_poll(msgspec.structs.replace(commit, fence=fence))
    assert (await store.poll.load_snapshot("emea")).version == 0
    assert await store.ledger.events() == []
    assert await store.ledger.depths() == []
    assert await other.poll.commit_poll(msgspec.structs.replace(commit, fence=new)) == 1


async def test_a_late_leader_commits_until_replaced(
    store: Store, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """A lead that ran out harms nobody before another takes over: its poll is not thrown away."""
    fence = await lead(store, "a", ttl=0)
    assert await store.poll.commit_poll(make_commit(0, make_state(1), fence=fence)) == 1


async def test_replicas_share_one_clock(
    store: Store, open_another: OpenAnother, hands: SimpleNamespace
) -> None:
    """On PostgreSQL a replica whose clock runs ahead takes over no sooner; a SQLite store has one clock."""
    await lead(store, "a", ttl=60)
    other = await open_another()
    hands.now += 3600
    assert (await lead(other, "b") is None) == (store._database.path is None)


async def test_whoever_starts_leads(tmp_path: object, hands: SimpleNamespace) -> None:
    """A bridge that opens a SQLite store leads at once, whoever was killed while leading."""
    url = f"sqlite:///{tmp_path}/store.db"
    tokens = []
    for owner in ("a", "b"):
        store = await open_store(url, clock=lambda: hands.now, exclusive=True)
        fence = await lead(store, owner, ttl=3600)
        assert fence
        tokens.append(fence.token)
        await store.close()  # as a kill: nothing is released
    assert tokens == [1, 2]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_frozen_transaction_holds_nobody_up(
    store_url: str, make_state: MakeState, make_commit: MakeCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server frees the locks of a replica that is frozen in the middle of a commit."""
    monkeypatch.setattr(postgresql, "FROZEN_AFTER_MS", 300)
    frozen, other = [await open_store(store_url, clock=lambda: 1.0, exclusive=True) for _ in range(2)]
    await other.poll.commit_poll(make_commit(0))

    async def stand_still_while_another_commits() -> None:
        async with frozen._database.write() as connection:
            await connection.execute(update(controllers).values(version=9))
            assert await other.poll.commit_poll(make_commit(1, make_state(1))) == 2

    with pytest.raises(StoreUnavailable):
        await stand_still_while_another_commits()
    assert (await frozen.poll.load_snapshot("emea")).version == 2
    await frozen.close()
    await other.close()


async def test_a_lease_is_renewed_while_sending(store: Store, commit_event: CommitEvent) -> None:
    """A renewed lease is nobody else's; what was taken over, finished or is unknown is not ours any more."""
    one, two, three, four = await commit_event({}, {}, {}, {})
    await store.outbox.claim("chat", owner="me", limit=4, lease=0)
    await store.outbox.record(three, owner="me", result=AttemptResult(state=DeliveryState.SENT))
    renewed = await store.outbox.renew([one, three, "unknown"], owner="me", lease=60)
    assert renewed == {one}
    taken = await store.outbox.claim("chat", owner="other", limit=9, lease=60)
    assert [claim.delivery.id for claim in taken] == [two, four]
    assert await store.outbox.renew({one, two, four}, owner="me", lease=60) == {one}
    assert await store.outbox.renew([], owner="me", lease=60) == frozenset()
    assert await store.outbox.record(one, owner="me", result=AttemptResult(state=DeliveryState.SENT))


async def test_a_renewed_lease_shows_when_it_ends(store: Store, commit_event: CommitEvent) -> None:
    """The ledger shows the new end, and nothing is due before it."""
    (one,) = await commit_event({})
    (claim,) = await store.outbox.claim("chat", owner="me", limit=1, lease=5)
    await store.outbox.renew([one], owner="me", lease=500)
    row = await store.ledger.delivery(one)
    assert row
    assert row.delivery.leased_until is not None
    assert claim.delivery.leased_until is not None
    assert row.delivery.leased_until - claim.delivery.leased_until > 400


async def test_who_is_there_is_known_to_all(store: Store, open_another: OpenAnother) -> None:
    """Each replica sees the others with what they would lead, and who leads; who left is gone at once."""
    other = await open_another()
    assert (await store.leadership.register("a", {"emea", "apac"}, ttl=60)).candidates == {
        "a": {"emea", "apac"}
    }
    await lead(store, "a")
    seen = await other.leadership.register("b", ["emea"], ttl=60)
    assert seen.candidates == {"a": {"emea", "apac"}, "b": {"emea"}}
    assert seen.leaders == {"emea": "a"} == await other.leadership.leaders()
    await store.leadership.unregister("a")
    seen = await other.leadership.register("b", ["apac"], ttl=60)
    assert seen.candidates == {"b": {"apac"}}
    assert seen.leaders == {"emea": "a"}


async def test_who_falls_silent_is_there_no_longer(store: Store, open_another: OpenAnother) -> None:
    """After its time a replica is forgotten, and what it led is nobody's, though its row stays."""
    other = await open_another()
    await store.leadership.register("a", ["emea"], ttl=0)
    await lead(store, "a", ttl=0)
    seen = await other.leadership.register("b", ["emea"], ttl=60)
    assert set(seen.candidates) == {"b"}
    assert seen.leaders == {} == await other.leadership.leaders()
    # Who wakes up again is there again.
    assert set((await store.leadership.register("a", ["emea"], ttl=40)).candidates) == {"a", "b"}


async def test_who_gave_up_leads_nothing(store: Store) -> None:
    """A released name has no leader."""
    fence = await lead(store, "a")
    assert fence
    await store.leadership.release(fence)
    assert await store.leadership.leaders() == {}


async def test_many_that_come_and_go_at_once(store: Store, open_another: OpenAnother) -> None:
    """However many say at the same moment that they are there, no one is refused, and no one is missing."""
    stores = (store, await open_another(), await open_another())
    for ttl in (0, 60, 0, 60):
        await asyncio.gather(
            *(stores[n % 3].leadership.register(f"owner-{n}", ["emea"], ttl=ttl) for n in range(9))
        )
    seen = await store.leadership.register("owner-0", ["emea"], ttl=60)
    assert len(seen.candidates) == 9


async def test_a_clock_that_was_set_back_holds_nobody_up(store: Store, open_another: OpenAnother) -> None:
    """An end that lies further ahead than any can is over: the lead is free, and its replica gone."""
    other = await open_another()
    await store.leadership.register("a", ["emea"], ttl=60)
    old = await lead(store, "a")
    assert old
    async with store._database.write() as connection:
        await connection.execute(update(leaders).values(leads_until=leaders.c.leads_until + 3600))
        await connection.execute(update(replicas).values(attends_until=replicas.c.attends_until + 3600))
    seen = await other.leadership.register("b", ["emea"], ttl=60)
    assert (set(seen.candidates), seen.leaders) == ({"b"}, {})
    new = await lead(other, "b")
    assert new
    assert not await store.leadership.renew(old, ttl=60)


async def test_a_token_given_out_twice_is_one_owners(store: Store, open_another: OpenAnother) -> None:
    """Whoever led by a token that a fail-over lost neither renews nor releases another's lead."""
    other = await open_another()
    new = await lead(other, "b")
    assert new
    lost = msgspec.structs.replace(new, owner="a")
    assert not await store.leadership.renew(lost, ttl=60)
    await store.leadership.release(lost)
    assert await store.leadership.leaders() == {"emea": "b"}
