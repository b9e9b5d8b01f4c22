"""Tickets and acknowledgements as people ask for them, and how long they are kept; on both databases."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.model import JobState
from cmc_notify.ports import PollCommit, Posting, TicketFilter
from cmc_notify.store import Store

MakeState = Callable[..., JobState]
MakeCommit = Callable[..., PollCommit]
CommitEvent = Callable[..., Awaitable[list[str]]]


async def stand(
    store: Store, commit_event: CommitEvent, job_id: int, *made: tuple[str, str, dict[str, Any]]
) -> None:
    """Deliveries about a job, (sink, subject, posting) each, made these at the sinks, and are done."""
    sent = await commit_event(
        *({"sink": sink, "subject": subject, "ordering_key": subject} for sink, subject, _ in made),
        job_id=job_id,
    )
    for delivery, (sink, _, posting) in zip(sent, made, strict=True):
        await store.outbox.record_part(delivery, "done", "r", posting=Posting(reference="ref", **posting))
        await store.outbox.claim(sink, owner="me", limit=100, lease=60)
        result = AttemptResult(state=DeliveryState.SENT)
        assert await store.outbox.record(delivery, owner="me", result=result)


async def labels(store: Store, **wanted: Any) -> list[str]:
    """Of the tickets that are found."""
    return [row.ticket.label for row in await store.ledger.tickets(TicketFilter(**wanted))]


async def test_tickets_are_found_by_what_people_know(
    store: Store, commit_event: CommitEvent, hands: SimpleNamespace
) -> None:
    """Job, event, subject or state, the last changed first; a message in place is no ticket."""
    await stand(
        store, commit_event, 1, ("snow", "job:emea:1-1795420001", {"label": "INC1", "url": "https://snow/1"})
    )
    hands.now += 2
    await stand(
        store,
        commit_event,
        2,
        ("snow", "failure:emea:V1:3", {"label": "INC2", "open": False}),
        ("pager", "job:emea:2-1795420002", {"label": "P2"}),
        ("chat", "job:emea:2-1795420002", {}),
    )
    assert await labels(store) == ["P2", "INC2", "INC1"]
    assert await labels(store, limit=1) == ["P2"]
    assert await labels(store, open_only=True) == ["P2", "INC1"]
    assert await labels(store, job_id=2) == ["P2", "INC2"]
    assert await labels(store, job_id=2, controller="apac") == []
    assert await labels(store, subjects=["job:emea:1-1795420001", "failure:emea:V1:3", "x"]) == [
        "INC2",
        "INC1",
    ]
    assert await labels(store, subjects=[]) == []
    oldest = (await store.ledger.events())[-1]
    assert await labels(store, event_id=oldest.id) == ["INC1"]
    [row] = await store.ledger.tickets(TicketFilter(job_id=1))
    assert (row.ticket.sink, row.ticket.subject, row.ticket.url) == (
        "snow",
        "job:emea:1-1795420001",
        "https://snow/1",
    )
    assert (row.ticket.open, row.controller, row.job_id, row.changed_at) == (True, "emea", 1, hands.now - 2)


async def test_a_ticket_says_what_it_is_about(store: Store, commit_event: CommitEvent) -> None:
    """The job, or the appliance's serial number with the job that changed it last."""
    both = [("snow", "job:emea:1-1795420001", "INC1"), ("pager", "failure:emea:V:1:3", "P1")]
    await stand(store, commit_event, 1, *((sink, subject, {"label": label}) for sink, subject, label in both))
    shut = [(sink, subject, {"label": label, "open": False}) for sink, subject, label in both]
    await stand(store, commit_event, 2, *shut)
    assert await labels(store, job_id=1) == ["INC1"]
    assert await labels(store, job_id=2) == ["P1"]
    rows = await store.ledger.tickets(TicketFilter())
    assert {row.about for row in rows} == {"job 1 on emea", "V:1 on emea, job 2"}


async def test_retention_keeps_open_tickets_and_what_stands_for_a_job_that_is_kept(
    store: Store,
    commit_event: CommitEvent,
    make_commit: MakeCommit,
    make_state: MakeState,
    hands: SimpleNamespace,
) -> None:
    """Closed tickets and messages go with their job, once they are old enough themselves."""
    await stand(store, commit_event, 1, ("snow", "job:emea:1-1795420001", {"label": "OPEN"}))
    await stand(store, commit_event, 2, ("snow", "job:emea:2-1795420002", {"label": "SHUT", "open": False}))
    await stand(store, commit_event, 3, ("chat", "job:emea:3-1795420003", {}))
    await stand(store, commit_event, 4, ("snow", "job:emea:4-1795420004", {"label": "LISTED", "open": False}))
    listed = frozenset({make_state(4).uid})
    version = (await store.poll.load_snapshot("emea")).version
    await store.poll.commit_poll(make_commit(version, listed=listed))
    hands.now += 1000
    assert await store.housekeeping.forget(before=hands.now - 1001) == 0
    # Four deliveries, their events, three jobs, two postings.
    assert await store.housekeeping.forget(before=hands.now) == 4 + 4 + 3 + 2
    assert sorted(await labels(store)) == ["LISTED", "OPEN"]
    [row] = await store.ledger.tickets(TicketFilter(subjects=["job:emea:1-1795420001"]))
    assert (row.controller, row.job_id) == ("emea", None)
