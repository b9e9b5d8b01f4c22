"""The store as the dispatcher sees it, on SQLite and PostgreSQL."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.store import Store
from support.store_claims import DEAD, SENT, claim, claimed, finish, row

OpenAnother = Callable[..., Awaitable[Store]]
CommitEvent = Callable[..., Awaitable[list[str]]]


async def test_claim_hands_out_what_was_committed(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """A claim holds the delivery as committed, its lease, and its whole event."""
    (one,) = await commit_event({"shown": (0, 2), "subject": "job-1", "ordering_key": "job-1"}, job_id=1)
    (found,) = await claim(store, lease=30)
    delivery = found.delivery
    assert (delivery.id, delivery.key, delivery.sink, delivery.subject) == (one, one, "chat", "job-1")
    assert (delivery.shown, delivery.attempts, delivery.unclear, delivery.parts) == ((0, 2), 0, False, {})
    assert (delivery.state, delivery.deadline_at) == ("pending", hands.now + 3600)
    assert delivery.leased_until is not None
    assert found.event == (await store.ledger.events())[0]
    assert await claimed(store) == []


async def test_the_oldest_first_up_to_the_limit(store: Store, commit_event: CommitEvent) -> None:
    """Deliveries are handed out in the order of their commits, those of other sinks not at all."""
    first = await commit_event({}, {"sink": "mail"}, {})
    second = await commit_event({})
    assert await claimed(store, limit=2) == [first[0], first[2]]
    assert await claimed(store) == second
    assert await claimed(store, "mail") == [first[1]]


async def test_not_before_it_is_due(store: Store, commit_event: CommitEvent, hands: SimpleNamespace) -> None:
    """A delivery with a later due time waits for it."""
    (one,) = await commit_event({"due_at": hands.now + 10})
    assert await claimed(store) == []
    assert await store.outbox.next_due("chat") == hands.now + 10
    hands.now += 10
    assert await claimed(store) == [one]


async def test_one_ordering_key_goes_one_by_one(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """Within a key nothing passes an unfinished delivery: leased, put off or not yet due; other keys do."""
    same = {"ordering_key": "job-1"}
    one, two, mail = await commit_event(
        {**same, "subject": "a"}, {**same, "subject": "b"}, {**same, "sink": "mail"}
    )
    (three,) = await commit_event(same)
    (other,) = await commit_event({})
    assert await claimed(store) == [one, other]
    assert await claimed(store, "mail") == [mail]
    assert await claimed(store) == []
    await finish(store, other)
    await finish(store, one, AttemptResult(state=DeliveryState.PENDING, due_at=hands.now + 60, error="503"))
    assert await claimed(store) == []
    hands.now += 60
    assert await claimed(store) == [one]
    await finish(store, one, DEAD)
    assert await claimed(store) == [two]
    await finish(store, two)
    assert await claimed(store) == [three]


async def test_a_resolve_waits_for_its_triggers(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """A delivery that waits for others, at any sink, is due when all of them are finished or deleted."""
    first, second = await commit_event({}, {"sink": "mail"})
    (resolve,) = await commit_event({"waits_for": (first, second, "forgotten", first)})
    assert await claimed(store) == [first]
    await finish(store, first)
    assert await claimed(store) == []
    due = await store.outbox.next_due("chat")
    assert due is not None
    assert hands.now < due <= hands.now + 5
    assert await claimed(store, "mail") == [second]
    await finish(store, second, DEAD)
    assert await store.outbox.next_due("chat") == hands.now
    assert await claimed(store) == [resolve]


async def test_a_lapsed_lease_is_free_and_unclear(store: Store, commit_event: CommitEvent) -> None:
    """After its lease a delivery may be claimed again, marked as maybe sent; the former holder has no say."""
    (one,) = await commit_event({})
    assert [found.delivery.unclear for found in await claim(store, lease=0)] == [False]
    again = await store.outbox.claim("chat", owner="other", limit=1, lease=30)
    assert [(found.delivery.id, found.delivery.unclear) for found in again] == [(one, True)]
    assert (await row(store, one)).unclear
    assert not await store.outbox.record(one, owner="me", result=SENT)
    assert await store.outbox.record(one, owner="other", result=SENT)
    assert not await store.outbox.record(one, owner="other", result=DEAD)
    assert (await row(store, one)).state == "sent"


async def test_record_keeps_what_happened(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """Attempts are counted where they count; the last error stays beside the receipt of a later success."""
    (one,) = await commit_event({})
    await claimed(store)
    held = AttemptResult(
        state=DeliveryState.PENDING, due_at=hands.now, error="blocked", counts_as_attempt=False
    )
    await finish(store, one, held)
    assert ((await row(store, one)).attempts, (await row(store, one)).last_error) == (0, "blocked")
    await claimed(store)
    unclear = AttemptResult(state=DeliveryState.PENDING, due_at=hands.now, error="cut off", unclear=True)
    await finish(store, one, unclear)
    assert [found.delivery.unclear for found in await claim(store)] == [True]
    hands.now += 5
    await finish(store, one, SENT)
    kept = await row(store, one)
    assert (kept.state, kept.attempts, kept.unclear, kept.leased_until) == ("sent", 2, False, None)
    assert (kept.finished_at, kept.last_error, kept.receipt) == (hands.now, "cut off", "171.5")
    assert await store.outbox.next_due("chat") is None


async def test_hostile_answers_are_kept(store: Store, commit_event: CommitEvent) -> None:
    """NUL and lone surrogates in a receiver's answer are shown; all other text stays as it came."""
    (one,) = await commit_event({})
    await claimed(store)
    text = "\0 \ud800 \U0001f600 \u202e é ' \" \n"
    await store.outbox.record_part(one, text, text)
    await finish(store, one, AttemptResult(state=DeliveryState.DEAD, error=text, receipt=text))
    shown = "\u2400 \ufffd \U0001f600 \u202e é ' \" \n"
    kept = await row(store, one)
    assert (kept.last_error, kept.receipt, kept.parts) == (shown, shown, {shown: shown})


async def test_parts_are_remembered(
    store: Store, commit_event: CommitEvent, open_another: OpenAnother
) -> None:
    """Each accepted part is there at once for whoever claims next; a part recorded again is written over."""
    (one,) = await commit_event({})
    await claimed(store, lease=0)
    await store.outbox.record_part(one, "root", "1")
    await store.outbox.record_part(one, "file", "2")
    await store.outbox.record_part(one, "file", "3")
    (found,) = await claim(await open_another())
    assert found.delivery.parts == {"root": "1", "file": "3"}


async def test_next_due_knows_order_and_leases(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """Only the first of a key counts; a leased one is due when its lease ends; nothing pending is None."""
    assert await store.outbox.next_due("chat") is None
    await commit_event({"ordering_key": "k", "due_at": hands.now + 50})
    await commit_event({"ordering_key": "k", "due_at": hands.now - 50})
    assert await store.outbox.next_due("chat") == hands.now + 50
    hands.now += 50
    await claimed(store, lease=30)
    due = await store.outbox.next_due("chat")
    assert due == pytest.approx(hands.now + 30, abs=5)
    (early,) = await commit_event({"due_at": hands.now - 7})
    assert await store.outbox.next_due("chat") == hands.now - 7
    assert await claimed(store) == [early]
