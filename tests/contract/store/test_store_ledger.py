"""The store as people see it, and what they change by hand, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import msgspec
import pytest

from cmc_notify.core.delivery import AttemptResult, DeliveryState, Purpose
from cmc_notify.core.model import JobState, TrackedFailure
from cmc_notify.errors import StaleSnapshot
from cmc_notify.ports import DeliveryFilter, OutboxDepth, PollCommit
from cmc_notify.store import Store

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
MakeFailure = Callable[..., TrackedFailure]
OpenAnother = Callable[..., Awaitable[Store]]
CommitEvent = Callable[..., Awaitable[list[str]]]


async def end(store: Store, delivery_id: str, state: DeliveryState) -> None:
    """Claim the delivery and finish it."""
    await store.outbox.claim("chat", owner="me", limit=100, lease=0)
    assert await store.outbox.record(
        delivery_id, owner="me", result=AttemptResult(state=state, receipt="r", unclear=True)
    )


async def listed(store: Store, **wanted: object) -> list[str]:
    """Ids of the deliveries that a filter lets through."""
    rows = await store.ledger.deliveries(msgspec.convert(wanted, DeliveryFilter))
    return [row.delivery.id for row in rows]


async def test_deliveries_by_every_filter(store: Store, commit_event: CommitEvent) -> None:
    """Each filter alone and all together; the newest first, up to the limit."""
    one, two = await commit_event({}, {"sink": "mail"}, job_id=1)
    (three,) = await commit_event({}, job_id=2)
    (four,) = await commit_event({}, job_id=2, controller="apac")
    (five,) = await commit_event({"sink": ""}, job_id=3)
    await end(store, one, DeliveryState.DEAD)
    assert await listed(store) == [five, four, three, two, one]
    assert await listed(store, limit=2) == [five, four]
    assert await listed(store, state="dead") == [one]
    assert await listed(store, state="unrouted") == [five]
    assert await listed(store, sink="mail") == [two]
    assert await listed(store, controller="apac") == [four]
    assert await listed(store, job_id=2) == [four, three]
    assert await listed(store, job_id=2, controller="emea", sink="chat", state="pending") == [three]
    row = await store.ledger.delivery(two)
    assert row
    assert (row.event_type, row.event_time, row.controller, row.job_id) == (
        "job.failed",
        "2026-11-23T09:20:00Z",
        "emea",
        1,
    )
    assert await listed(store, event_id=row.delivery.event_id) == [two, one]
    assert await store.ledger.delivery("none") is None


async def test_retry_makes_due_with_the_same_key(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """A sent, dead or delayed delivery is due now; key, parts and doubts stay, the deadline is new."""
    sent, dead, later = await commit_event(
        {}, {}, {"due_at": hands.now + 500, "deadline_at": hands.now + 900}
    )
    (unrouted,) = await commit_event({"sink": ""})
    await store.outbox.record_part(dead, "root", "1")
    await end(store, sent, DeliveryState.SENT)
    await end(store, dead, DeliveryState.DEAD)
    hands.now += 100
    wanted = [unrouted, later, "unknown", dead, sent]
    assert await store.ledger.retry(wanted, now=hands.now) == [sent, dead, later]
    claims = await store.outbox.claim("chat", owner="me", limit=9, lease=9)
    found = {one.delivery.id: one.delivery for one in claims}
    assert found.keys() == {sent, dead, later}
    assert all(one.key == one.id and one.due_at == hands.now for one in found.values())
    assert (found[dead].parts, found[dead].unclear, found[dead].attempts) == ({"root": "1"}, True, 1)
    assert (found[dead].deadline_at, found[later].deadline_at) == (hands.now + 3600, hands.now + 900)
    assert found[dead].finished_at is None
    hands.now += 100
    await store.ledger.retry([later], now=hands.now)
    again = await store.ledger.delivery(later)
    assert again
    assert again.delivery.deadline_at == hands.now + 900


async def test_retry_all_dead(store: Store, commit_event: CommitEvent, hands: SimpleNamespace) -> None:
    """Without ids, all dead deliveries and no others are taken."""
    one, two, three = await commit_event({}, {}, {})
    for delivery_id in (one, two):
        await end(store, delivery_id, DeliveryState.DEAD)
    await end(store, three, DeliveryState.SENT)
    assert await store.ledger.retry(None, now=hands.now) == [one, two]
    assert await store.ledger.retry(None, now=hands.now) == []
    assert await listed(store, state="pending") == [two, one]


async def test_retry_again_is_a_new_message(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """``again`` gives a key never used, forgets parts and doubts, and ends the lease of the old message."""
    one, two = await commit_event({}, {})
    await store.outbox.record_part(one, "root", "1")
    await store.outbox.record_part(two, "root", "2")
    await end(store, one, DeliveryState.SENT)
    assert await store.ledger.retry([one, two], now=hands.now, again=True) == [one, two]
    result = AttemptResult(state=DeliveryState.SENT)
    assert not await store.outbox.record(two, owner="me", result=result)
    claims = await store.outbox.claim("chat", owner="me", limit=9, lease=9)
    first, second = (found.delivery for found in claims)
    for delivery in (first, second):
        assert delivery.key != delivery.id
        assert "." not in delivery.key
        assert (delivery.parts, delivery.unclear, delivery.receipt) == ({}, False, None)
    by_key = await store.ledger.delivery(first.key)
    assert by_key
    assert by_key.delivery.id == one
    await store.ledger.retry([one], now=hands.now, again=True)
    assert await store.ledger.delivery(first.key) is None


async def test_depths(store: Store, commit_event: CommitEvent, hands: SimpleNamespace) -> None:
    """Each sink's share, with the age of its oldest pending delivery; what is unrouted is no sink's."""
    one, two, _ = await commit_event({}, {}, {"sink": "mail"})
    await commit_event({"sink": ""})
    await end(store, one, DeliveryState.SENT)
    hands.now += 60
    await commit_event({}, {})
    assert await store.ledger.depths() == [
        OutboxDepth("chat", 3, 1, 0, hands.now - 60),
        OutboxDepth("mail", 1, 0, 0, hands.now - 60),
    ]
    await end(store, two, DeliveryState.DEAD)
    assert (await store.ledger.depths())[0] == OutboxDepth("chat", 2, 1, 1, hands.now)


async def test_events(store: Store, commit_event: CommitEvent, hands: SimpleNamespace) -> None:
    """Events come whole, the newest first, by controller and by job."""
    for job_id, controller in ((1, "emea"), (2, "emea"), (2, "apac")):
        hands.now += 1
        await commit_event({}, job_id=job_id, controller=controller)
    found = await store.ledger.events()
    assert [(event.controller, event.job and event.job.id) for event in found] == [
        ("apac", 2),
        ("emea", 2),
        ("emea", 1),
    ]
    assert await store.ledger.events(limit=1) == found[:1]
    assert await store.ledger.events(controller="emea") == found[1:]
    assert await store.ledger.events(job_id=2, controller="emea") == [found[1]]
    assert await store.ledger.event(found[1].id) == found[1]
    assert await store.ledger.event("none") is None


async def test_jobs_and_controllers(store: Store, make_state: MakeState, make_commit: MakeCommit) -> None:
    """Jobs come the newest first, also those without a creation time; controllers by name."""
    states = (make_state(1), make_state(3, "Queued"), make_state(2, creation_time=None))
    await store.poll.commit_poll(make_commit(0, *states))
    apac = make_commit(0, make_state(2, "InProgress"), controller="apac")
    await store.poll.commit_poll(apac)
    found = await store.ledger.jobs()
    order = [("emea", 3), ("apac", 2), ("emea", 1), ("emea", 2)]
    assert [(name, state.job.id) for name, state in found] == order
    assert found[0][1] == states[1]
    assert await store.ledger.jobs(open_only=True) == found[:2]
    assert await store.ledger.jobs(controller="emea", open_only=True, limit=5) == found[:1]
    assert await store.ledger.jobs(limit=2) == found[:2]
    assert list((await store.ledger.snapshots()).items()) == [("apac", apac.meta), ("emea", apac.meta)]


async def test_closing_by_hand(
    store: Store, make_commit: MakeCommit, make_failure: MakeFailure, hands: SimpleNamespace
) -> None:
    """An open failure closes once, as closed by the operator; others and unknown ones do not."""
    first, second = make_failure("a"), make_failure("b", feature_id=4, opened_at=hands.now - 1)
    elsewhere = make_failure("c", controller="apac")
    await store.poll.commit_poll(make_commit(0, failures=(first, second)))
    await store.poll.commit_poll(make_commit(0, controller="apac", failures=(elsewhere,)))
    assert await store.ledger.failures() == [second, first, elsewhere]
    assert await store.ledger.failures(controller="emea", limit=1) == [second]
    assert await store.ledger.count_failures() == {"apac": 1, "emea": 2}
    assert await store.ledger.close_failure("a", now=hands.now)
    assert not await store.ledger.close_failure("a", now=hands.now)
    assert not await store.ledger.close_failure("unknown", now=hands.now)
    assert await store.ledger.count_failures() == {"apac": 1, "emea": 1}
    closed = msgspec.structs.replace(first, closed_at=hands.now, closed_by="operator")
    assert await store.poll.load_failures("emea", [first.pair]) == [second, closed]


async def test_a_poll_does_not_reopen_what_was_closed_by_hand(
    store: Store, make_commit: MakeCommit, make_failure: MakeFailure, hands: SimpleNamespace
) -> None:
    """A poll that read the failure while it was open is stale then; other controllers' are not."""
    failure = make_failure("a")
    await store.poll.commit_poll(make_commit(0, failures=(failure,)))
    await store.poll.commit_poll(make_commit(0, controller="apac"))
    await store.ledger.close_failure("a", now=hands.now)
    with pytest.raises(StaleSnapshot):
        await store.poll.commit_poll(make_commit(1, failures=(failure,)))
    await store.poll.commit_poll(make_commit(1, controller="apac"))
    version = (await store.poll.load_snapshot("emea")).version
    await store.poll.commit_poll(make_commit(version))
    assert await store.ledger.failures() == []


async def test_secret(store: Store, open_another: OpenAnother) -> None:
    """Whoever asks first, and at the same time, all get the same 32 bytes; another name, others."""
    other = await open_another()
    found = await asyncio.gather(*(target.ledger.secret("links") for target in (store, other) * 4))
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert await store.ledger.secret("more") != found[0]
    assert await (await open_another()).ledger.secret("links") == found[0]


async def test_ping(store: Store) -> None:
    """A healthy store can be read and written, again and again."""
    await store.ledger.ping()
    await store.ledger.ping()


async def test_a_ticket_that_a_retry_opens_late_is_closed_after_it(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """Its close was sent before there was a ticket. A close that is not the newest delivery stays sent."""
    about, again = ({"subject": f"job:emea:{n}", "ordering_key": f"job:emea:{n}"} for n in (1, 2))
    opening, opened = await commit_event(about, again)
    closing, closed = await commit_event(
        about | {"purpose": Purpose.CLOSE}, again | {"purpose": Purpose.CLOSE}
    )
    (reopened,) = await commit_event(again)
    for one in (opening, opened):
        await end(store, one, DeliveryState.DEAD)
    for one in (closing, closed, reopened):
        await store.outbox.record_part(one, "done", "1")
        await end(store, one, DeliveryState.SENT)
    assert await store.ledger.retry(None, now=hands.now) == [opening, opened]
    assert await listed(store, state="pending") == [closing, opened, opening]
    row = await store.ledger.delivery(closing)
    assert row
    assert (row.delivery.parts, row.delivery.due_at) == ({}, hands.now)
    await end(store, opening, DeliveryState.SENT)
    claims = await store.outbox.claim("chat", owner="me", limit=9, lease=9)
    assert closing in [found.delivery.id for found in claims]


async def test_an_end_that_is_retried_itself_is_due_once(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """With the parts that were taken."""
    about = {"subject": "job:emea:1", "ordering_key": "job:emea:1"}
    (closing,) = await commit_event(about | {"purpose": Purpose.CLOSE})
    await store.outbox.record_part(closing, "done", "1")
    await end(store, closing, DeliveryState.SENT)
    assert await store.ledger.retry([closing], now=hands.now) == [closing]
    row = await store.ledger.delivery(closing)
    assert row
    assert row.delivery.parts == {"done": "1"}
