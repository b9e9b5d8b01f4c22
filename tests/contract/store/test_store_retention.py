"""Retention: what is deleted, and what is kept, on SQLite and PostgreSQL."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.model import JobState, TrackedFailure
from cmc_notify.ports import PollCommit, SavedJob
from cmc_notify.store import Store

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
MakeFailure = Callable[..., TrackedFailure]
CommitEvent = Callable[..., Awaitable[list[str]]]


async def send_all(store: Store, but: tuple[str, ...] = ()) -> None:
    """Finish every pending delivery of the chat except some."""
    for claim in await store.outbox.claim("chat", owner="me", limit=1000, lease=0):
        if claim.delivery.id not in but:
            result = AttemptResult(state=DeliveryState.SENT)
            assert await store.outbox.record(claim.delivery.id, owner="me", result=result)


async def test_finished_and_old(store: Store, commit_event: CommitEvent, hands: SimpleNamespace) -> None:
    """Old finished deliveries go with their parts and waits, then events that nothing refers to any more."""
    (sent,) = await commit_event({}, job_id=1)
    await commit_event({"sink": ""}, job_id=2)
    (one, still_pending) = await commit_event({"waits_for": (sent,)}, {}, job_id=3)
    await store.outbox.record_part(one, "root", "1")
    await send_all(store, but=(still_pending, one))
    await send_all(store, but=(still_pending,))
    assert await store.housekeeping.forget(before=hands.now) == 0
    hands.now += 100
    (young,) = await commit_event({}, job_id=4)
    await send_all(store, but=(still_pending,))
    # Two events with a delivery each, and one delivery whose event another one still needs.
    assert await store.housekeeping.forget(before=hands.now) == 5
    assert await store.ledger.delivery(one) is None
    assert await store.ledger.delivery(still_pending)
    assert await store.ledger.delivery(young)
    assert [event.job and event.job.id for event in await store.ledger.events()] == [4, 3]
    assert await store.housekeeping.forget(before=hands.now) == 0


async def test_many(store: Store, commit_event: CommitEvent, hands: SimpleNamespace) -> None:
    """However much is old, it goes in one call."""
    await commit_event(*({"sink": "", "subject": str(number)} for number in range(1200)))
    hands.now += 1
    assert await store.housekeeping.forget(before=hands.now) == 1201


async def test_the_opening_of_an_open_failure_stays(
    store: Store,
    make_state: MakeState,
    make_commit: MakeCommit,
    make_failure: MakeFailure,
    hands: SimpleNamespace,
) -> None:
    """Event, deliveries and job of an open failure stay however old; once closed long ago, all goes."""
    state = make_state(1)
    await store.poll.commit_poll(make_commit(0, state, deliveries=({},), listed=frozenset()))
    opened = (await store.ledger.events())[0].id
    failure = make_failure("a", opened_event=opened, job_uid=state.uid, last_job_uid="later")
    await store.poll.commit_poll(make_commit(1, failures=(failure,)))
    await send_all(store)
    hands.now += 1000
    assert await store.housekeeping.forget(before=hands.now) == 0
    await store.ledger.close_failure("a", now=hands.now)
    # The event is no longer needed, the closed failure is still young.
    assert await store.housekeeping.forget(before=hands.now) == 3
    assert await store.poll.load_failures("emea", [failure.pair])
    assert await store.housekeeping.forget(before=hands.now + 1) == 1
    assert await store.poll.load_failures("emea", [failure.pair]) == []


async def test_a_listed_job_stays(
    store: Store, make_state: MakeState, make_commit: MakeCommit, hands: SimpleNamespace
) -> None:
    """A job goes only once no full list has shown it for as long as retention asks, and it is not open."""
    gone, kept, still_open, back = make_state(1), make_state(2), make_state(3, "Queued"), make_state(4)
    await store.poll.commit_poll(make_commit(0, gone, kept, still_open, back))
    hands.now += 1000
    assert (
        await store.housekeeping.forget(before=hands.now) == 4
    )  # the events; no full list spoke of the jobs
    await store.poll.commit_poll(make_commit(1, listed=frozenset({kept.uid, "unreadable"})))
    assert await store.housekeeping.forget(before=hands.now) == 0
    hands.now += 10
    await store.poll.commit_poll(make_commit(2, listed=frozenset({kept.uid, back.uid})))
    # Looked at by its id, but in no list.
    await store.poll.commit_poll(make_commit(3, jobs=(SavedJob(gone, bytes(16)),)))
    assert await store.housekeeping.forget(before=hands.now) == 1
    assert [job.id for job in (await store.poll.load_snapshot("emea")).known] == [2, 3, 4]
    assert gone.uid not in await store.poll.load_states("emea", [gone.uid, kept.uid])
    assert await store.housekeeping.forget(before=hands.now + 1000) == 0
