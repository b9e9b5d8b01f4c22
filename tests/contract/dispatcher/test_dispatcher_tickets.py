"""A fallback's notifications instead of tickets: all that it does not get anyway, and each end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cmc_notify.core.delivery import DeliveryState, NewDelivery, Purpose
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.outcome import Rejected, SendOutcome
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.samples import sample
from cmc_notify.dispatcher import Dispatcher, SinkPolicy
from cmc_notify.ports import ControllerMeta, Message, PartRecorder, PollCommit, Posting
from support.dispatcher_harness import SENT, DispatcherHarness, Scripted, empty_harness, make_brisk

FAILED = replace(sample(EventType.JOB_FAILED), id="e1")
OVER = replace(
    sample(EventType.APPLIANCE_RECOVERED),
    id="e2",
    recoveries=tuple(
        replace(
            sample(EventType.APPLIANCE_RECOVERED).recoveries[0],
            serial=each.serial,
            feature_id=each.feature_id,
        )
        for each in FAILED.failures
    ),
)
NEVER = Rejected("never")
PLAN = SinkPolicy(timeout=0.2, concurrency=4, retry=RetryPolicy(initial=5, max=60, probe=30))
DESK = replace(PLAN, tickets=True)


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DispatcherHarness]:
    """A harness without events."""
    make_brisk(monkeypatch)
    async with empty_harness(tmp_path) as ready:
        yield ready


def to(sink: str, subject: str, event: Event = FAILED, **fields: Any) -> NewDelivery:
    """A delivery; with an id of its own."""
    given: dict[str, Any] = {
        "id": f"{event.id}-{sink}-{subject.replace(':', '_')}",
        "event_id": event.id,
        "sink": sink,
        "subject": subject,
        "ordering_key": subject,
        "due_at": 0.0,
        "deadline_at": 1e12,
    }
    return NewDelivery(**given | fields)


async def serve(
    harness: DispatcherHarness,
    *told: NewDelivery,
    sinks: dict[Scripted, SinkPolicy],
    events: tuple[Event, ...] = (FAILED, OVER),
) -> None:
    """Commit these, and let the sinks accept every delivery that follows."""
    commit = PollCommit(
        controller="emea", expected_version=0, meta=ControllerMeta(), events=events, deliveries=told
    )
    await harness.store.poll.commit_poll(commit)
    dispatcher = Dispatcher(
        harness.store.outbox,
        {sink.name: sink for sink in sinks},
        {sink.name: plan for sink, plan in sinks.items()},
        owner="here",
        clock=harness.clock,
        metrics=harness.metrics,
    )
    dispatcher.start()
    async with asyncio.timeout(10):
        while any(depth.pending for depth in await harness.store.ledger.depths()):  # noqa: ASYNC110  no event is set
            await asyncio.sleep(0.005)
    await dispatcher.stop(0.5)


def got(sink: Scripted) -> list[tuple[str, int]]:
    """Return the accepted events: each type with its number of failures or recoveries."""
    return [(each.event.type.value, len(each.event.failures or each.event.recoveries)) for each in sink.got]


async def test_a_fallback_that_gets_the_recovery_anyway_does_not_get_the_tickets_end_too(
    harness: DispatcherHarness,
) -> None:
    """The usual case: chat and desk are both notified, and chat is the desk's fallback."""
    desk, chat = Scripted("desk"), Scripted("chat")
    await serve(
        harness,
        to("chat", "job:emea:1"),
        to("desk", "job:emea:1"),
        to("chat", "job:emea:2", OVER),
        to("desk", "job:emea:1", OVER, purpose=Purpose.CLOSE, waits_for=("e1-desk-job_emea_1",)),
        sinks={desk: replace(DESK, fallback="chat"), chat: PLAN},
    )
    every = len(FAILED.failures)
    assert got(chat) == [("job.failed", every), ("appliance.recovered", every)]


async def test_a_fallback_that_gets_failures_anyway_does_not_get_their_dead_tickets(
    harness: DispatcherHarness,
) -> None:
    """It gets failures that its own message leaves out, in one message for all missing tickets."""
    desk, chat = Scripted("desk", otherwise=NEVER), Scripted("chat")
    await serve(
        harness,
        to("chat", "job:emea:1", shown=(0,)),
        to("desk", "failure:emea:a:3", shown=(0,)),
        to("desk", "failure:emea:b:3", shown=(1,)),
        sinks={desk: replace(DESK, fallback="chat"), chat: PLAN},
    )
    assert len(FAILED.failures) > 2
    assert [each.event.failures for each in chat.got] == [FAILED.failures[:1], FAILED.failures[1:2]]


async def test_a_message_for_dead_tickets_shows_what_these_would_have(harness: DispatcherHarness) -> None:
    """Not failures outside the desk's route, nor silenced ones, nor those with a ticket."""
    desk, chat = Scripted("desk", SENT, otherwise=NEVER), Scripted("chat")
    await serve(
        harness,
        to("desk", "failure:emea:a:3", shown=(0,)),
        to("desk", "failure:emea:b:3", shown=(1,)),
        sinks={desk: replace(DESK, fallback="chat", concurrency=1), chat: PLAN},
    )
    assert [each.event.failures for each in chat.got] == [FAILED.failures[1:2]]


async def test_a_message_that_only_follows_does_not_take_the_place_of_the_alert(
    harness: DispatcherHarness,
) -> None:
    """People are notified instead of a ticket, also if their job's message is updated."""
    desk, chat = Scripted("desk", NEVER), Scripted("chat")
    await serve(
        harness,
        to("chat", "job:emea:1", purpose=Purpose.FOLLOW),
        to("desk", "job:emea:1"),
        sinks={desk: replace(DESK, fallback="chat"), chat: PLAN},
    )
    assert [each.purpose for each in chat.got] == [Purpose.FOLLOW, Purpose.NOTIFY]


async def test_what_two_routes_show_of_an_event_is_whole_where_one_takes_over(
    harness: DispatcherHarness,
) -> None:
    """The fallback's own message shows another failure of the same job than the one that is dead."""
    mail, chat = Scripted("mail", NEVER), Scripted("chat")
    await serve(
        harness,
        to("chat", "job:emea:1", shown=(0,)),
        to("mail", "job:emea:1", shown=(0, 1)),
        sinks={mail: replace(PLAN, fallback="chat"), chat: PLAN},
    )
    assert [each.event.failures for each in chat.got] == [FAILED.failures[:1], FAILED.failures[1:2]]


async def open_ticket(message: Message, record: PartRecorder) -> SendOutcome:
    """Read the ticket as a preset does."""
    await record("done", "T-1", posting=Posting(reference="1", label="T-1"))
    return SENT


@pytest.mark.parametrize(
    ("begun", "ended", "subject"),
    [
        (EventType.CONTROLLER_UNREACHABLE, EventType.CONTROLLER_RECOVERED, "controller:emea"),
        (EventType.JOB_FAILED, EventType.JOB_SUCCEEDED, "job:emea:1"),
    ],
)
async def test_a_ticket_that_the_fallback_opened_is_closed_without_pairs(
    harness: DispatcherHarness, begun: EventType, ended: EventType, subject: str
) -> None:
    """By the end that the first desk gets once it accepts messages again."""
    opening, closing = replace(sample(begun), id="e1"), replace(sample(ended), id="e2")
    desk, other = Scripted("desk", NEVER), Scripted("other", otherwise=open_ticket)
    await serve(
        harness,
        to("desk", subject, opening),
        to("desk", subject, closing, purpose=Purpose.CLOSE),
        sinks={desk: replace(DESK, fallback="other"), other: DESK},
        events=(opening, closing),
    )
    assert [(each.subject, each.purpose) for each in other.got] == [
        (subject, Purpose.NOTIFY),
        (subject, Purpose.CLOSE),
    ]


async def test_what_was_taken_once_and_is_sent_anew_has_no_need_of_a_fallback(
    harness: DispatcherHarness,
) -> None:
    """An update with an acknowledgement is rejected: its event was sent long ago."""
    chat, mail = Scripted("chat"), Scripted("mail")
    sinks = {chat: replace(PLAN, fallback="mail"), mail: PLAN}
    await serve(harness, to("chat", "job:emea:1", id="e1-chat"), sinks=sinks)
    chat.otherwise = NEVER
    await harness.store.ledger.retry(["e1-chat"], now=harness.clock())
    dispatcher = Dispatcher(
        harness.store.outbox,
        {sink.name: sink for sink in sinks},
        {sink.name: plan for sink, plan in sinks.items()},
        owner="here",
        clock=harness.clock,
        metrics=harness.metrics,
    )
    dispatcher.start()
    await harness.until("e1-chat", lambda row: row.state is DeliveryState.DEAD)
    await dispatcher.stop(0.5)
    assert await harness.store.ledger.delivery("e1-mail-for-chat") is None
