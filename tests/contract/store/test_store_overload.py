"""Deliveries that expired, are superseded or have no sink any more, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery
from cmc_notify.core.events import EventType, Failure, Recovery
from cmc_notify.ports import Delivery
from cmc_notify.store import Store
from cmc_notify.store.tables import deliveries
from support.store_deliveries import (
    FAILED,
    PROGRESS,
    SENT,
    Happen,
    MakeCommit,
    MakeState,
    claimed,
    row,
    states,
)

CommitEvent = Callable[..., Awaitable[list[str]]]
End = Callable[..., Awaitable[str]]
Fail = Callable[..., Awaitable[list[str]]]
Recover = Callable[..., Awaitable[str]]


async def expired(store: Store, sink: str = "chat", *, limit: int = 10) -> list[str]:
    """The ids of what is too late."""
    claims = await store.outbox.claim_expired(sink, owner="me", limit=limit, lease=30)
    return [one.delivery.id for one in claims]


async def test_what_is_claimed_in_turn_is_what_was_due_for_longest(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """A delivery that failed before comes after younger ones; each key keeps its order."""
    key = {"ordering_key": "k"}
    tried, waiting, behind = await commit_event(
        {"due_at": hands.now - 1}, {"due_at": hands.now - 5, **key}, {"due_at": hands.now - 9, **key}
    )
    for expected in (waiting, behind, tried):
        (claim,) = await store.outbox.claim("chat", owner="me", limit=1, lease=30, in_turn=True)
        assert claim.delivery.id == expected
        if expected == waiting:
            assert await store.outbox.record(waiting, owner="me", result=SENT)


async def test_progress_that_is_put_off_while_news_is_committed_holds_nothing_up(
    store: Store, happen: Happen, hands: SimpleNamespace
) -> None:
    """Progress with a newer event behind it is left out, whichever replica's transaction ends first."""
    progress = await happen(PROGRESS)
    assert await claimed(store) == [progress]
    async with store.outbox._database.write() as other:  # as ``record`` writes it
        changed = {"leased_by": None, "leased_until": None, "due_at": hands.now + 3600}
        await other.execute(update(deliveries).where(deliveries.c.id == progress).values(**changed))
        committing = asyncio.ensure_future(happen(FAILED))
        await asyncio.wait([committing], timeout=0.3)
    failed = await committing
    assert await claimed(store) == [failed]
    assert await states(store, progress) == ["superseded"]


async def test_only_what_reached_its_deadline_expires(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """Due or not, the oldest first and leased as by a claim; what is leased, done or elsewhere stays."""
    late = {"deadline_at": hands.now + 10}
    one, two, leased, done, _mail, _young = await commit_event(
        late, {**late, "due_at": hands.now + 5000}, late, late, {**late, "sink": "mail"}, {}
    )
    assert await store.outbox.next_deadline("chat") == hands.now + 10
    assert await store.outbox.next_deadline("pager") is None
    assert await expired(store) == []
    await store.outbox.claim("chat", owner="other", limit=10, lease=30)
    for each in (one, done):
        back = AttemptResult(state=DeliveryState.PENDING, due_at=hands.now) if each == one else SENT
        assert await store.outbox.record(each, owner="other", result=back)
    hands.now += 10
    assert await expired(store, limit=1) == [one]
    assert await expired(store) == [two]
    assert await expired(store) == []
    assert (await row(store, leased)).leased_until is not None


async def test_what_expires_keeps_its_order(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """Of one key the first alone, and nothing before what it waits for: its fallbacks come in that order."""
    late = {"deadline_at": hands.now}
    first, second = await commit_event({**late, "ordering_key": "k"}, {**late, "ordering_key": "k"})
    (resolve,) = await commit_event({**late, "waits_for": (second,)})
    for each in (first, second, resolve):
        assert await expired(store) == [each]
        assert await store.outbox.record(each, owner="me", result=AttemptResult(state=DeliveryState.DEAD))


async def test_a_resolve_overtakes_no_trigger_at_the_fallback(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """If both are dead, the fallback's copy of the resolve waits for its copy of the trigger."""
    (trigger,) = await commit_event({"subject": "job-1"})
    (resolve,) = await commit_event({"subject": "job-2", "waits_for": (trigger,)})
    for each in (trigger, resolve):
        assert await claimed(store) == [each]
        event = (await row(store, each)).event_id
        instead = NewDelivery(
            id=f"{each}-mail",
            event_id=event,
            sink="mail",
            subject=each,
            ordering_key=each,
            due_at=hands.now,
            deadline_at=hands.now + 60,
        )
        result = AttemptResult(state=DeliveryState.DEAD, error="400", fallback=instead)
        assert await store.outbox.record(each, owner="me", result=result)
    assert await claimed(store, "mail") == [f"{trigger}-mail"]
    assert await claimed(store, "mail") == []
    assert await store.outbox.record(f"{trigger}-mail", owner="me", result=SENT)
    assert await claimed(store, "mail") == [f"{resolve}-mail"]


def _copy(of: Delivery, sink: str = "mail") -> NewDelivery:
    """Return a delivery to ``sink`` in place of another sink."""
    return NewDelivery(
        id=f"{of.event_id}-{sink}-for-{of.sink}",
        event_id=of.event_id,
        sink=sink,
        subject=of.subject,
        ordering_key=of.ordering_key,
        shown=of.shown,
        due_at=of.due_at,
        deadline_at=of.deadline_at,
    )


@pytest.fixture
def end(store: Store) -> End:
    """``end(delivery, state)``: claimed by its sink, and with its end a copy goes to mail; its id."""

    async def finish(delivery_id: str, state: DeliveryState, *, to: str = "mail") -> str:
        delivery = await row(store, delivery_id)
        assert delivery_id in await claimed(store, delivery.sink)
        copy = _copy(delivery, to)
        assert await store.outbox.record(
            delivery_id, owner="me", result=AttemptResult(state=state, fallback=copy)
        )
        return copy.id

    return finish


@pytest.fixture
def recover(store: Store, make_state: MakeState, make_commit: MakeCommit) -> Recover:
    """``recover(*serials, **delivery)``: one event of pairs that work again; its delivery's id."""

    async def commit(*serials: str, **delivery: object) -> str:
        version = (await store.poll.load_snapshot("emea")).version
        new = make_commit(
            version, make_state(9), deliveries=(delivery,), event_type=EventType.APPLIANCE_RECOVERED
        )
        over = tuple(Recovery(serial, None, 3, "QoS", "2026-11-23T09:00:00Z", 1) for serial in serials)
        (event,) = new.events
        await store.poll.commit_poll(replace(new, events=(replace(event, recoveries=over),)))
        return new.deliveries[0].id

    return commit


@pytest.fixture
def fail(store: Store, make_state: MakeState, make_commit: MakeCommit) -> Fail:
    """``fail(job, serials, *deliveries)``: one event of failed pairs; its deliveries' ids."""

    async def commit(job: int, serials: Sequence[str], *given: dict[str, object]) -> list[str]:
        version = (await store.poll.load_snapshot("emea")).version
        new = make_commit(version, make_state(job), deliveries=given)
        pairs = tuple(Failure(serial, None, 3, "QoS", "no route", new=True) for serial in serials)
        (event,) = new.events
        await store.poll.commit_poll(replace(new, events=(replace(event, failures=pairs),)))
        return [delivery.id for delivery in new.deliveries]

    return commit


async def test_a_resolve_that_was_sent_follows_the_failures_that_were_handed_over(
    store: Store, fail: Fail, recover: Recover, end: End
) -> None:
    """The fallback gets, once and after the failure, the recovery of what it was shown as failed, only."""
    (taken,) = await fail(1, ["A"], {"subject": "job-1"})
    (refused,) = await fail(2, ["B", "C", "D"], {"subject": "job-2", "shown": (0, 2)})
    resolve = await recover("A", "B", "C", "D", subject="job-9", waits_for=(taken, refused))
    claims = await claimed(store)
    assert claims == [taken, refused]
    await store.outbox.record(taken, owner="me", result=SENT)
    result = AttemptResult(state=DeliveryState.DEAD, fallback=_copy(await row(store, refused)))
    await store.outbox.record(refused, owner="me", result=result)
    copy = await end(resolve, DeliveryState.SENT)
    assert (await row(store, resolve)).state is DeliveryState.SENT
    assert (await row(store, copy)).shown == (1, 3)
    (trigger,) = await claimed(store, "mail")
    assert await claimed(store, "mail") == []
    await store.ledger.retry([resolve], now=0.0)
    await end(resolve, DeliveryState.SENT)
    await store.outbox.record(trigger, owner="me", result=SENT)
    assert await claimed(store, "mail") == [copy]
    assert await claimed(store, "mail") == []


async def test_a_resolve_follows_through_every_fallback(
    store: Store, fail: Fail, recover: Recover, end: End
) -> None:
    """A failure that went on to the fallback's fallback takes its resolve there too."""
    (failure,) = await fail(1, ["A"], {"subject": "job-1"})
    resolve = await recover("A", subject="job-9", waits_for=(failure,))
    second = await end(failure, DeliveryState.DEAD)
    await end(second, DeliveryState.DEAD, to="pager")
    copy = await end(await end(resolve, DeliveryState.SENT), DeliveryState.SENT, to="pager")
    (failure,) = await claimed(store, "pager")
    await store.outbox.record(failure, owner="me", result=SENT)
    assert await claimed(store, "pager") == [copy]
    assert (await row(store, copy)).shown is None


async def test_a_resolve_goes_to_no_fallback_that_was_told_none_of_it(
    store: Store, fail: Fail, recover: Recover, end: End
) -> None:
    """Nor where its own route showed it other failures of the same event."""
    mail = {"subject": "job-1", "sink": "mail", "shown": (1,)}
    (failure, own) = await fail(1, ["A", "B"], {"subject": "job-1", "shown": (0,)}, mail)
    (other,) = await fail(2, ["C"], {"subject": "job-2"})
    resolve = await recover("A", "C", subject="job-9", waits_for=(failure, other))
    await claimed(store)
    for each in (failure, other):
        await store.outbox.record(each, owner="me", result=SENT)
    copy = await end(resolve, DeliveryState.SENT)
    assert await store.ledger.delivery(copy) is None
    assert await claimed(store, "mail") == [own]


async def test_what_is_given_back_is_as_it_was(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """No lease, no attempt, no new due time: the next claim has it at once, and without doubt."""
    (one,) = await commit_event({})
    before = await row(store, one)
    await claimed(store)
    hands.now += 1
    untried = AttemptResult(state=DeliveryState.PENDING, counts_as_attempt=False)
    assert await store.outbox.record(one, owner="me", result=untried)
    assert await row(store, one) == before
    assert await claimed(store, owner="other") == [one]
