"""Postings, as the next messages get them, on SQLite and PostgreSQL."""

from collections.abc import Awaitable, Callable, Sequence

from cmc_notify.core.delivery import AttemptResult, DeliveryState, Purpose
from cmc_notify.ports import Claim, Posting, Ticket, TicketFilter
from cmc_notify.store import Store

CommitEvent = Callable[..., Awaitable[list[str]]]

MESSAGE = Posting(reference="C1:171.5", notes={"shown": "3"})
TICKET = Posting(reference="sys-1", label="INC0012345", url="https://desk.example.net/INC0012345")


async def claim(store: Store, sink: str = "chat") -> Sequence[Claim]:
    """Return the claims that may be sent to the sink now."""
    return await store.outbox.claim(sink, owner="me", limit=10, lease=30)


async def test_the_next_message_about_a_subject_gets_what_stands_there(
    store: Store, commit_event: CommitEvent
) -> None:
    """Written with the part that made it; another sink and another subject have their own."""
    about = {"subject": "job:emea:1", "ordering_key": "job:emea:1"}
    (one,) = await commit_event(about)
    await commit_event(about, {"sink": "mail"} | about, {"subject": "other"})
    first, other = await claim(store)
    assert (first.delivery.id, first.posting, other.posting) == (one, None, None)
    await store.outbox.record_part(one, "message", "1", posting=MESSAGE)
    await store.outbox.record(one, owner="me", result=AttemptResult(state=DeliveryState.SENT))
    (second,) = await claim(store)
    assert second.posting == MESSAGE
    (mail,) = await claim(store, "mail")
    assert mail.posting is None


async def test_a_retry_of_the_same_message_gets_it_too(store: Store, commit_event: CommitEvent) -> None:
    """A crash after the part was recorded loses nothing; a later one takes the place of an earlier."""
    (one,) = await commit_event({})
    await claim(store)
    for posting in (TICKET, MESSAGE):
        await store.outbox.record_part(one, "message", "1", posting=posting)
    later = AttemptResult(state=DeliveryState.PENDING, due_at=0.0)
    await store.outbox.record(one, owner="me", result=later)
    (again,) = await claim(store)
    assert again.posting == MESSAGE


async def test_tickets_of_a_job_come_with_the_other_messages_about_it(
    store: Store, commit_event: CommitEvent
) -> None:
    """Only what people have a name for, from other sinks, and of this job alone."""
    desk, chat, _mail = await commit_event(
        {"sink": "desk", "subject": "failure:emea:V1:3"}, {"sink": "chat"}, {"sink": "mail"}, job_id=7
    )
    await commit_event({"sink": "mail"}, job_id=8)
    await claim(store, "desk")
    await claim(store, "chat")
    await store.outbox.record_part(desk, "ticket", "1", posting=TICKET)
    await store.outbox.record_part(chat, "message", "1", posting=MESSAGE)
    of_job, of_another = await claim(store, "mail")
    expected = Ticket("desk", "failure:emea:V1:3", "INC0012345", TICKET.url, open=True)
    assert (of_job.tickets, of_another.tickets) == ((expected,), ())


async def test_a_purpose_survives_the_store(store: Store, commit_event: CommitEvent) -> None:
    """And is to commit_event, where nothing else is said."""
    await commit_event({"purpose": Purpose.CLOSE}, {"purpose": Purpose.FOLLOW}, {})
    purposes = [each.delivery.purpose for each in await claim(store)]
    assert purposes == [Purpose.CLOSE, Purpose.FOLLOW, Purpose.NOTIFY]


async def test_a_jobs_ticket_stays_that_jobs_when_another_job_changes_it(
    store: Store, commit_event: CommitEvent
) -> None:
    """A later push that repairs some of it: who looks at the first job still finds its ticket."""
    await commit_event(job_id=7)
    about = {"sink": "desk", "subject": "job:emea:7-1795420007", "ordering_key": "job:emea:7-1795420007"}
    (follows,) = await commit_event(about | {"purpose": Purpose.FOLLOW}, job_id=8)
    await claim(store, "desk")
    await store.outbox.record_part(follows, "ticket", "1", posting=TICKET)
    for job_id, labels in ((7, ["INC0012345"]), (8, [])):
        found = await store.ledger.tickets(TicketFilter(job_id=job_id))
        assert [row.ticket.label for row in found] == labels
