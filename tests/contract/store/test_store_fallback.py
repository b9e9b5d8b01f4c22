"""Test the fallback, concurrent claims, and any history of an outbox."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery
from cmc_notify.store import Store
from support.store_claims import DEAD, SENT, claim, claimed, finish, row

OpenAnother = Callable[..., Awaitable[Store]]
CommitEvent = Callable[..., Awaitable[list[str]]]


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
