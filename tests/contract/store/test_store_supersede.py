"""Test progress that a newer event supersedes, and deliveries that nobody serves."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.ports import DeliveryFilter
from cmc_notify.store import Store, leadership
from cmc_notify.store.retention import UNSERVED_AFTER
from support.store_deliveries import FAILED, PROGRESS, SENT, Happen, claimed, row, states

CommitEvent = Callable[..., Awaitable[list[str]]]


@pytest.mark.parametrize("newer", [PROGRESS, FAILED, EventType.APPLIANCE_FAILED])
async def test_newer_news_supersedes_progress(store: Store, happen: Happen, newer: EventType) -> None:
    """Progress that was not sent before is left out, in the same commit; it is finished, and stays listed."""
    old = [await happen(PROGRESS), await happen(PROGRESS)]
    new = await happen(newer)
    assert await states(store, *old, new) == ["superseded", "superseded", "pending"]
    assert (await row(store, old[0])).finished_at is not None
    assert await claimed(store) == [new]
    listed = await store.ledger.deliveries(DeliveryFilter(state=DeliveryState.SUPERSEDED))
    assert [one.delivery.id for one in listed] == old[::-1]


async def test_nothing_but_progress_is_superseded(store: Store, happen: Happen) -> None:
    """Every other event is sent, whatever came later; so is what belongs to another sink or job."""
    kept = [await happen(kind) for kind in EventType if kind is not PROGRESS]
    others = [await happen(PROGRESS, key="job-2"), await happen(PROGRESS, "mail")]
    await happen(FAILED, "chat", "mail", key="job-3")
    await happen(FAILED)
    assert set(await states(store, *kept, *others)) == {"pending"}


async def test_one_commit_supersedes_for_each_of_its_sinks_and_jobs(store: Store, happen: Happen) -> None:
    """Only for that sink and that job: not the job at another sink, nor another job at the sink."""
    both = await happen(PROGRESS, "chat", "mail", key="job-1")
    mail_alone = await happen(PROGRESS, "mail", key="job-2")
    await happen(FAILED, "chat", key="job-1")
    listed = await store.ledger.deliveries(DeliveryFilter(state=DeliveryState.SUPERSEDED))
    assert [one.delivery.id for one in listed] == [both]
    assert await states(store, mail_alone) == ["pending"]


async def test_progress_that_is_being_sent_is_superseded_once_that_failed(
    store: Store, happen: Happen, hands: SimpleNamespace
) -> None:
    """Progress in flight may end; once sent, it is sent; to be retried, it is superseded at once."""
    first, second = await happen(PROGRESS, key="job-1"), await happen(PROGRESS, key="job-2")
    assert await claimed(store) == [first, second]
    new = [await happen(FAILED, key="job-1"), await happen(FAILED, key="job-2")]
    assert await states(store, first, second) == ["pending", "pending"]
    again = AttemptResult(state=DeliveryState.PENDING, due_at=hands.now + 3600, error="503")
    assert await store.outbox.record(first, owner="me", result=again)
    assert await store.outbox.record(second, owner="me", result=SENT)
    assert await states(store, first, second) == ["superseded", "sent"]
    assert (await row(store, first)).last_error == "503"
    assert await claimed(store) == new


async def test_progress_that_waits_to_be_tried_again_holds_no_news_back(
    store: Store, happen: Happen, hands: SimpleNamespace
) -> None:
    """A newer event does not wait for the retry of what it supersedes."""
    old = await happen(PROGRESS)
    await claimed(store)
    again = AttemptResult(state=DeliveryState.PENDING, due_at=hands.now + 3600, error="503")
    assert await store.outbox.record(old, owner="me", result=again)
    assert await states(store, old) == ["pending"]
    new = await happen(FAILED)
    assert await claimed(store) == [new]


async def test_progress_whose_lease_lapsed_is_superseded_by_the_next_claim(
    store: Store, happen: Happen
) -> None:
    """A crash in the middle of a send leaves nothing pointless to be sent again."""
    old = await happen(PROGRESS)
    assert await claimed(store, lease=0) == [old]
    new = await happen(PROGRESS)
    found = await claimed(store) or await claimed(store)
    assert found == [new]
    assert await states(store, old) == ["superseded"]
    assert (await row(store, old)).leased_until is None


async def test_what_was_superseded_is_not_sent_by_hand(
    store: Store, happen: Happen, hands: SimpleNamespace
) -> None:
    """A retry would send an old state after a newer one; neither by id nor with all dead letters."""
    old = await happen(PROGRESS)
    await happen(FAILED)
    assert await store.ledger.retry(None, now=hands.now) == []
    assert await store.ledger.retry([old], now=hands.now, again=True) == []


async def test_retention_forgets_what_was_superseded(
    store: Store, happen: Happen, hands: SimpleNamespace
) -> None:
    """It is as finished as what was sent."""
    old = await happen(PROGRESS)
    await happen(FAILED)
    hands.now += 100
    await store.housekeeping.forget(before=hands.now - 1)
    assert await store.ledger.delivery(old) is None


async def test_what_nobody_serves_becomes_dead_letters(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace, dialect: str
) -> None:
    """With the sink's name as the reason; served sinks, unrouted events and what is done are left alone."""
    gone, done, chat, _unrouted, other = await commit_event(
        {"sink": "pager"}, {"sink": "pager"}, {}, {"sink": ""}, {"sink": "old_mail"}
    )
    assert done in await claimed(store, "pager")
    for each in (gone, done):
        result = SENT if each == done else AttemptResult(state=DeliveryState.PENDING, due_at=hands.now)
        assert await store.outbox.record(each, owner="me", result=result)
    if dialect == "postgresql":
        # While a new config is rolled out, another replica may still serve it, or already.
        hands.now += UNSERVED_AFTER - 1
        assert await store.housekeeping.end_unserved(["chat", "mail"]) == {}
        hands.now += 1
    assert await store.housekeeping.end_unserved(["chat", "mail"]) == {"pager": 1, "old_mail": 1}
    assert await states(store, gone, done, chat, other) == ["dead", "sent", "pending", "dead"]
    assert (await row(store, gone)).last_error == "sink pager is no longer in the config"
    assert (await row(store, gone)).finished_at == hands.now
    assert await store.housekeeping.end_unserved(["chat", "mail"]) == {}
    assert await store.ledger.retry(None, now=hands.now) == [gone, other]
    assert await claimed(store, "pager") == [gone]


async def test_what_another_is_sending_is_not_called_dead(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """Until its lease ends; then it is, and may have arrived."""
    sending, lapsed = await commit_event({"sink": "pager"}, {"sink": "pager"})
    await store.outbox.claim("pager", owner="there", limit=2, lease=0)
    assert await store.outbox.renew([sending], owner="there", lease=5000) == {sending}
    hands.now += UNSERVED_AFTER
    assert await store.housekeeping.end_unserved(["chat"]) == {"pager": 1}
    assert await states(store, sending, lapsed) == ["pending", "dead"]
    assert (await row(store, lapsed)).unclear


async def test_what_another_replica_serves_is_not_called_dead(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it has been due, as behind a blocked sink; nor while that replica may be restarting."""
    (held,) = await commit_event({"sink": "pager"})
    await store.leadership.register("other", ["poll:emea", "sink:pager"], ttl=5000)
    hands.now += UNSERVED_AFTER
    assert await store.housekeeping.end_unserved(["chat"]) == {}
    await store.leadership.unregister("other")
    assert await store.housekeeping.end_unserved(["chat"]) == {}
    assert await states(store, held) == ["pending"]
    monkeypatch.setattr(leadership, "KNOWN_FOR", 0.0)
    assert await store.housekeeping.end_unserved(["chat"]) == {"pager": 1}


async def test_however_much_is_unserved_it_ends_in_one_call(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """In small transactions, all of it."""
    await commit_event(*({"sink": "pager", "subject": str(number)} for number in range(1100)))
    hands.now += UNSERVED_AFTER
    assert await store.housekeeping.end_unserved([]) == {"pager": 1100}
