"""The store as the dispatcher sees it, on SQLite and PostgreSQL."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery
from cmc_notify.ports import Claim, Delivery
from cmc_notify.store import Store

OpenAnother = Callable[..., Awaitable[Store]]
CommitEvent = Callable[..., Awaitable[list[str]]]

SENT = AttemptResult(state=DeliveryState.SENT, receipt="171.5")
DEAD = AttemptResult(state=DeliveryState.DEAD, error="400")


async def claim(store: Store, sink: str = "chat", *, limit: int = 10, lease: float = 30) -> Sequence[Claim]:
    """Return the ids that this process may send now."""
    return await store.outbox.claim(sink, owner="me", limit=limit, lease=lease)


async def claimed(store: Store, sink: str = "chat", *, limit: int = 10, lease: float = 30) -> list[str]:
    """The ids of :func:`claim`."""
    return [one.delivery.id for one in await claim(store, sink, limit=limit, lease=lease)]


async def finish(store: Store, delivery_id: str, result: AttemptResult = SENT) -> None:
    """Record a result as the holder of the lease."""
    assert await store.outbox.record(delivery_id, owner="me", result=result)


async def row(store: Store, delivery_id: str) -> Delivery:
    """The ledger's delivery."""
    found = await store.ledger.delivery(delivery_id)
    assert found
    return found.delivery


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


async def test_fallback_takes_over(store: Store, commit_event: CommitEvent, hands: SimpleNamespace) -> None:
    """A dead delivery and its fallback are written together, and the fallback once, however often it dies."""
    (one,) = await commit_event({"subject": "job-1"})
    event = (await row(store, one)).event_id
    other = NewDelivery(
        id="instead",
        event_id=event,
        sink="mail",
        subject="job-1",
        ordering_key="job-1",
        waits_for=(one,),
        due_at=hands.now,
        deadline_at=hands.now + 10,
    )
    result = AttemptResult(state=DeliveryState.DEAD, error="400", fallback=other)
    assert not await store.outbox.record(one, owner="me", result=result)
    assert await claimed(store, "mail") == []
    for _ in range(2):
        await claimed(store)
        await finish(store, one, result)
        await store.ledger.retry([one], now=hands.now)
    await claimed(store)
    await finish(store, one, DEAD)
    assert await claimed(store, "mail") == ["instead"]


async def test_one_message_takes_over_from_all_tickets_of_an_event(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """It shows what each of them would have, less what its sink shows anyhow; written at the first death."""
    keys = [f"failure:emea:{number}:3" for number in range(3)]
    tickets = [{"sink": "desk", "subject": key, "ordering_key": key} for key in keys]
    mail, one, two, three = await commit_event(
        {"sink": "mail", "subject": "job-1", "shown": (0, 3)},
        *({"shown": (number,)} | ticket for number, ticket in enumerate(tickets)),
    )
    event = (await row(store, one)).event_id
    for dead in (three, one, two):
        instead = NewDelivery(
            id=f"instead-of-{dead}",
            event_id=event,
            sink="mail",
            subject=f"event:{event}",
            ordering_key=f"event:{event}",
            unless_notified=True,
            due_at=hands.now,
            deadline_at=hands.now + 10,
        )
        await claimed(store, "desk")
        await finish(store, dead, AttemptResult(state=DeliveryState.DEAD, error="400", fallback=instead))
    assert await claimed(store, "mail") == [mail, f"instead-of-{three}"]
    assert (await row(store, f"instead-of-{three}")).shown == (1, 2)


async def test_concurrent_claims_share_nothing(
    store: Store, commit_event: CommitEvent, open_another: OpenAnother
) -> None:
    """However many claim at once, each delivery goes to one of them, and of each key one at a time."""
    keys = [f"key-{number % 7}" for number in range(30)]
    for start in range(0, 30, 10):
        await commit_event(*({"ordering_key": key} for key in keys[start : start + 10]))
    stores = (store, await open_another(), await open_another())
    sent: list[str] = []

    async def work(number: int) -> None:
        owner = f"worker-{number}"
        while len(sent) < 30:
            found = await stores[number % 3].outbox.claim("chat", owner=owner, limit=3, lease=60)
            for one in found:
                assert one.delivery.id not in sent
                sent.append(one.delivery.id)
                assert await stores[number % 3].outbox.record(one.delivery.id, owner=owner, result=SENT)

    async with asyncio.timeout(30):
        await asyncio.gather(*(work(number) for number in range(6)))
    by_key: dict[str, list[str]] = {}
    for delivery_id in sent:
        by_key.setdefault((await row(store, delivery_id)).ordering_key, []).append(delivery_id)
    assert len(set(sent)) == 30
    assert all(ids == sorted(ids) for ids in by_key.values())


@dataclass
class Expected:
    """A delivery as the rules, not the store, see it."""

    id: str
    sink: str
    ordering_key: str
    waits_for: tuple[str, ...]
    due_at: float
    unclear: bool = False
    leased: bool = False
    lapsed: bool = False


class Rules:
    """The rules of a claim, written down a second time and as plainly as possible."""

    def __init__(self) -> None:
        self.pending: list[Expected] = []

    def claim(self, sink: str, now: float, limit: int) -> list[tuple[str, bool]]:
        """(id, unclear) of what must be handed out; an earlier lapsed lease makes it unclear."""
        unfinished = {one.id for one in self.pending}
        seen: set[tuple[str, str]] = set()
        found: list[Expected] = []
        for one in self.pending:
            head = (one.sink, one.ordering_key) not in seen
            seen.add((one.sink, one.ordering_key))
            free = not one.leased or one.lapsed
            waits = unfinished.intersection(one.waits_for)
            if one.sink == sink and head and free and one.due_at <= now and not waits and len(found) < limit:
                found.append(one)
        for one in found:
            one.unclear = one.unclear or one.lapsed
            one.leased, one.lapsed = True, False
        return [(one.id, one.unclear) for one in found]


@pytest.mark.parametrize("seed", range(2))
async def test_any_history_follows_the_rules(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace, seed: int
) -> None:
    """Over random commits, claims, results, lapses and time, each claim is exactly what the rules say."""
    chance = random.Random(seed)
    rules = Rules()
    everything: list[str] = []
    for _ in range(60):
        sink = chance.choice(["chat", "mail"])
        match chance.choice(["commit", "claim", "claim", "record", "record", "time"]):
            case "commit":
                given = [
                    {
                        "sink": chance.choice(["chat", "mail"]),
                        "ordering_key": chance.choice("ab"),
                        "waits_for": tuple(chance.sample(everything, len(everything) // 8)),
                        "due_at": hands.now + chance.choice([-5, 0, 20]),
                    }
                    for _ in range(chance.randint(1, 3))
                ]
                ids = await commit_event(*given)
                everything += ids
                rules.pending += [Expected(id=id_, **one) for id_, one in zip(ids, given, strict=True)]
            case "claim":
                limit, lapse = chance.randint(1, 3), chance.random() < 0.3
                due = await store.outbox.next_due(sink)
                found = await claim(store, sink, limit=limit, lease=0 if lapse else 1e6)
                wanted = rules.claim(sink, hands.now, limit)
                assert [(one.delivery.id, one.delivery.unclear) for one in found] == wanted
                assert (due is None) == (not any(one.sink == sink for one in rules.pending))
                assert (due is not None and due <= hands.now + 1e-3) == bool(wanted)
                for one in rules.pending:
                    one.lapsed = one.lapsed or (lapse and (one.id, one.unclear) in wanted)
            case "record" if held := [one for one in rules.pending if one.leased]:
                one = chance.choice(held)
                state = chance.choice([DeliveryState.SENT, DeliveryState.DEAD, DeliveryState.PENDING])
                one.leased, one.lapsed = False, False
                one.unclear = chance.random() < 0.5
                one.due_at = hands.now + 15
                if state is not DeliveryState.PENDING:
                    rules.pending.remove(one)
                await finish(
                    store, one.id, AttemptResult(state=state, due_at=one.due_at, unclear=one.unclear)
                )
            case _:
                hands.now += 10
