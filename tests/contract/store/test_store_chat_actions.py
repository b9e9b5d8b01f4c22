"""Actions from chat, on SQLite and PostgreSQL: first wins, once each, and shown on the message."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.model import JobState
from cmc_notify.core.silences import Silence
from cmc_notify.ports import (
    Acknowledgement,
    ActionOutcome,
    ChatAction,
    PollCommit,
    Posting,
    RefreshResult,
    Silenced,
)
from cmc_notify.store import Store

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
OpenAnother = Callable[..., Awaitable[Store]]

JOB = "job:emea:7-1795420007"
PLACE = "C0NETOPS001:1795425600.000001"
ACTION = ChatAction(
    id="a1", at=100.0, sink="chat", via="socket", action="cancel", outcome=ActionOutcome.BEGUN, who="U1"
)


@pytest.fixture
async def posted(store: Store, make_state: MakeState, make_commit: MakeCommit) -> list[str]:
    """Two events of one job, each sent to the chat, where the first made a message; their deliveries."""
    ids = []
    for revision in (1, 2):
        state = make_state(7, of_state={"revision": revision})
        given = {"subject": JOB, "ordering_key": JOB}
        commit = make_commit(revision - 1, state, deliveries=(given,))
        await store.poll.commit_poll(commit)
        [delivery_id] = [delivery.id for delivery in commit.deliveries]
        await send(store, delivery_id, Posting(reference=PLACE))
        ids.append(delivery_id)
    return ids


async def send(store: Store, delivery_id: str, posting: Posting | None = None) -> None:
    """Claim it, record its parts, and have it sent."""
    await store.outbox.claim("chat", owner="me", limit=9, lease=60)
    await store.outbox.record_part(delivery_id, "message", PLACE, posting=posting)
    await store.outbox.record_part(delivery_id, "thread", f"{PLACE}1")
    sent = AttemptResult(state=DeliveryState.SENT, receipt=PLACE)
    assert await store.outbox.record(delivery_id, owner="me", result=sent)


async def test_who_acknowledges_first_has_it(store: Store, open_another: OpenAnother) -> None:
    """Of many who ask at once, in two replicas, one has it, and all get that name as the answer."""
    other = await open_another()
    found = await asyncio.gather(
        *(
            target.chat_actions.acknowledge(JOB, by=f"person {number}\0", at=float(number))
            for number, target in enumerate((store, other) * 4)
        )
    )
    [one] = set(found)
    assert one.by.endswith("\u2400")
    assert await store.chat_actions.acknowledge(JOB, by="late", at=99.0) == one
    assert (await store.chat_actions.acknowledge("job:emea:8", by="late", at=99.0)).by == "late"


async def test_what_a_message_is_about(store: Store, posted: list[str], make_state: MakeState) -> None:
    """Only the place that stands for the subject now counts, and only for that subject."""
    assert await store.chat_actions.posted_at(JOB, PLACE) == ["chat"]
    assert await store.chat_actions.posted_at(JOB, "C0NETOPS001:1.000001") == []
    assert await store.chat_actions.posted_at("job:emea:8", PLACE) == []
    job = await store.chat_actions.job("emea", "7-1795420007")
    assert job == make_state(7, of_state={"revision": 2})
    assert await store.chat_actions.job("apac", "7-1795420007") is None


async def test_the_newest_message_is_due_again(
    store: Store, posted: list[str], hands: SimpleNamespace
) -> None:
    """With its key, without the part that stands, and with what was acknowledged; others are not."""
    hands.now += 100
    await store.chat_actions.acknowledge(JOB, by="Anna", at=hands.now)
    assert await store.chat_actions.refresh("mail", JOB, now=hands.now) is RefreshResult.NO_MESSAGE
    assert await store.chat_actions.refresh("chat", "job:emea:8", now=hands.now) is RefreshResult.NO_MESSAGE
    assert await store.chat_actions.refresh("chat", JOB, now=hands.now) is RefreshResult.DUE
    [claim] = await store.outbox.claim("chat", owner="me", limit=9, lease=60)
    assert (claim.delivery.id, claim.delivery.key) == (posted[1], posted[1])
    assert claim.delivery.parts == {"thread": f"{PLACE}1"}
    assert claim.posting == Posting(reference=PLACE)
    assert claim.delivery.deadline_at == hands.now + 3600
    assert claim.acknowledged == Acknowledgement("Anna", hands.now)


async def test_two_who_ask_at_once_make_it_due_once(
    store: Store, posted: list[str], open_another: OpenAnother, hands: SimpleNamespace
) -> None:
    """The second gets no "due": what the first made due may be on its way by then."""
    other = await open_another()
    for _ in range(5):
        answers = await asyncio.gather(
            *(each.chat_actions.refresh("chat", JOB, now=hands.now) for each in (store, other))
        )
        assert answers.count(RefreshResult.DUE) == 1
        await send(store, posted[1], Posting(reference=PLACE))


async def test_the_message_knows_of_its_silence(
    store: Store, posted: list[str], hands: SimpleNamespace
) -> None:
    """Of those of this very job that act now, the one that ends last; others and past ones are left out."""
    plain = Silence(
        id="s1", subject=JOB, starts_at=0, ends_at=hands.now, created_by="past", created_at=hands.now
    )
    for each in (
        plain,
        replace(plain, id="s2", ends_at=hands.now + 9, created_by="short"),
        replace(plain, id="s3", ends_at=hands.now + 90, created_by="Anna", until_job=True),
        replace(plain, id="s4", ends_at=hands.now + 99, subject="job:emea:8"),
        replace(plain, id="s5", ends_at=hands.now + 99, subject=None, controllers=("emea",)),
    ):
        await store.silences.add(each)
    await store.chat_actions.refresh("chat", JOB, now=hands.now)
    [claim] = await store.outbox.claim("chat", owner="me", limit=9, lease=60)
    assert claim.silenced == Silenced("Anna", hands.now + 90, with_job=True)


async def test_what_is_pending_shows_it_anyhow(
    store: Store, posted: list[str], make_state: MakeState, make_commit: MakeCommit, hands: SimpleNamespace
) -> None:
    """Nothing older is sent beside a newer one; while that is in flight, the answer is to ask again."""
    newer = {"subject": JOB, "ordering_key": JOB}
    state = make_state(7, of_state={"revision": 3})
    await store.poll.commit_poll(make_commit(2, state, deliveries=(newer,)))
    assert await store.chat_actions.refresh("chat", JOB, now=hands.now) is RefreshResult.PENDING
    [claim] = await store.outbox.claim("chat", owner="me", limit=9, lease=60)
    assert await store.chat_actions.refresh("chat", JOB, now=hands.now) is RefreshResult.IN_FLIGHT
    result = AttemptResult(state=DeliveryState.SENT)
    assert await store.outbox.record(claim.delivery.id, owner="me", result=result)
    assert await store.chat_actions.refresh("chat", JOB, now=hands.now) is RefreshResult.DUE
    [again] = await store.outbox.claim("chat", owner="me", limit=9, lease=60)
    assert again.delivery.id == claim.delivery.id


async def test_an_attempt_is_written_down_once(store: Store, open_another: OpenAnother) -> None:
    """The same press, sent to two replicas, is begun by one of them; what came of it is kept."""
    other = await open_another()
    first = await asyncio.gather(*(target.chat_actions.begin(ACTION) for target in (store, other, store)))
    assert sorted(first) == [False, False, True]
    later = replace(ACTION, id="a2", at=101.0, name="<!channel>\0 \U0001f600")
    assert await store.chat_actions.begin(later)
    await store.chat_actions.finish("a1", ActionOutcome.DONE, "the controller answers: Canceled")
    await store.chat_actions.finish("unknown", ActionOutcome.DONE, None)
    done = replace(ACTION, outcome=ActionOutcome.DONE, answer="the controller answers: Canceled")
    assert await other.chat_actions.actions() == [later, done]
    assert await other.chat_actions.actions(limit=1) == [later]


async def test_old_attempts_are_forgotten(store: Store, posted: list[str]) -> None:
    """With retention, and acknowledgements too, but not while a message stands that shows them."""
    await store.chat_actions.begin(ACTION)
    await store.chat_actions.begin(replace(ACTION, id="a2", at=200.0))
    await store.chat_actions.acknowledge(JOB, by="Anna", at=100.0)
    await store.chat_actions.acknowledge("job:emea:8", by="Anna", at=100.0)
    await store.housekeeping.forget(before=150.0)
    assert [action.id for action in await store.chat_actions.actions()] == ["a2"]
    assert (await store.chat_actions.acknowledge(JOB, by="Bea", at=300.0)).by == "Anna"
    assert (await store.chat_actions.acknowledge("job:emea:8", by="Bea", at=300.0)).by == "Bea"


async def test_a_new_run_of_the_job_is_nobodys_yet(
    store: Store, make_state: MakeState, make_commit: MakeCommit
) -> None:
    """An acknowledgement of one run does not count for the next run; other jobs stay as they are."""
    other = "job:emea:8-1795420008"
    for subject in (JOB, other):
        await store.chat_actions.acknowledge(subject, by="anna", at=100.0)
    state = make_state(7)
    assert f"job:emea:{state.uid}" == JOB
    await store.poll.commit_poll(make_commit(0, state, event_type=EventType.JOB_REOPENED))
    assert (await store.chat_actions.acknowledge(JOB, by="bert", at=200.0)).by == "bert"
    assert (await store.chat_actions.acknowledge(other, by="bert", at=200.0)).by == "anna"
