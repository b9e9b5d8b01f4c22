"""The one message of a job in Slack: brought up to date in place, its thread complete, whatever happens."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import RetryLater, Sent
from cmc_notify.core.samples import sample
from cmc_notify.ports import Purpose
from cmc_notify.simulator.slack import SlackServer, refusal_with
from cmc_notify.sinks.slack import BotSink
from support.recorded_parts import Parts
from support.slack_bot import assert_harmless, sink_for
from support.slack_cards import POST, UPDATE, kinds, message_of, send_all

JOB_EVENTS = [kind for kind in EventType if sample(kind).job]
QUIET = {EventType.JOB_CANCELED, EventType.JOB_REOPENED, EventType.APPLIANCE_FAILED}
BROADCAST = {
    EventType.JOB_FAILED, EventType.APPLIANCE_RECOVERED, EventType.JOB_OVERDUE, EventType.JOB_VANISHED,
}  # fmt: skip


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    """A workspace with the channels #netops and #other."""
    async with SlackServer(channels={"netops": "C0NETOPS001", "other": "C0OTHER0001"}) as server:
        yield server


async def test_a_job_has_one_message_that_moves_on_with_it(
    slack: SlackServer, sink: BotSink, parts: Parts
) -> None:
    """Queued, started, under way, failed: one card; its thread has what failed, the channel the end."""
    progress = message_of(EventType.JOB_PROGRESS, purpose=Purpose.FOLLOW)
    first = [message_of(EventType.JOB_QUEUED), message_of(EventType.JOB_STARTED), progress]
    await send_all(
        sink, parts, *first, message_of(EventType.APPLIANCE_FAILED), message_of(EventType.JOB_FAILED)
    )
    [card] = slack.parents
    assert [version["text"].split(" (")[0] for version in card.versions] == [
        "⚪ emea: push job 42 queued",
        "🔵 emea: push job 42 started",
        "🔵 emea: push job 42 in progress: 7 of 12 results",
        "🔴 emea: push job 42: 3 appliances failed, job still running",
        "🔴 emea: push job 42 failed: 4 of 6 appliances",
    ]
    assert all(version["text"] and version["blocks"] for version in card.versions)
    replies = slack.thread(card)
    assert kinds(replies) == ["appliance.failed", "job.failed"]
    assert [reply.broadcast for reply in replies] == [False, True]
    assert parts.posting is not None
    assert parts.posting.reference == f"C0NETOPS001:{card.ts}"
    assert parts.posting.label is None, "it is no ticket"
    assert_harmless(slack)


async def test_another_process_goes_on_with_the_message(slack: SlackServer, parts: Parts) -> None:
    """All that is needed is in the posting: each event is sent by a sink that knows nothing else."""
    for kind in (EventType.JOB_STARTED, EventType.JOB_PROGRESS, EventType.JOB_FAILED):
        sink = sink_for(slack)
        await send_all(sink, parts, message_of(kind))
        await sink.close()
    [card] = slack.parents
    assert len(card.versions) == 3
    assert kinds(slack.thread(card)) == ["job.failed"]


@pytest.mark.parametrize("kind", JOB_EVENTS)
async def test_what_must_not_be_missed_is_shown_in_the_channel(
    slack: SlackServer, sink: BotSink, parts: Parts, kind: EventType
) -> None:
    """A reply beneath a card that stood there before; beneath a new card the channel sees that already."""
    await send_all(sink, parts, message_of(kind))
    await send_all(sink, parts, msgspec.structs.replace(message_of(kind), key="again"))
    [card] = slack.parents
    replies = slack.thread(card)
    assert len(card.versions) == 2
    assert len(replies) == (2 if kind in QUIET | BROADCAST else 0)
    assert [reply.broadcast for reply in replies] == ([False, kind in BROADCAST] if replies else [])


async def test_a_reply_that_was_refused_at_first_is_shown_in_the_channel_all_the_same(
    slack: SlackServer, sink: BotSink, parts: Parts
) -> None:
    """A later attempt also knows whether the card is new."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    for kind, broadcast in ((EventType.JOB_FAILED, True), (EventType.JOB_OVERDUE, False)):
        if not broadcast:
            parts.posting = None
        message = parts.next(message_of(kind))
        own = Parts()
        own.posting = parts.posting
        slack.fail_next(POST, refusal_with("ratelimited"), after=0 if broadcast else 1)
        assert isinstance(await sink.send(message, own), RetryLater)
        assert isinstance(await sink.send(own.resumed(message), own), Sent)
        assert slack.messages[-1].broadcast is broadcast
        assert slack.messages[-1].thread_ts == slack.parents[-1].ts


@pytest.mark.parametrize("kind", JOB_EVENTS)
async def test_what_merely_follows_changes_the_card_alone(
    slack: SlackServer, sink: BotSink, parts: Parts, kind: EventType
) -> None:
    """Nobody is notified anew, whatever the event; without a card Slack is not even called."""
    follows = message_of(kind, purpose=Purpose.FOLLOW)
    assert await sink.send(follows, parts) == Sent(None)
    assert slack.calls == []
    await send_all(sink, parts, message_of(EventType.JOB_STARTED), follows)
    [card] = slack.messages
    assert len(card.versions) == 2


@pytest.mark.parametrize("trouble", ["deleted", "of another bot", "too old", "frozen"])
async def test_a_message_that_can_not_be_updated_is_posted_anew(
    slack: SlackServer, sink: BotSink, parts: Parts, trouble: str
) -> None:
    """Refused for good, the card is posted again, and everything goes on with the new one."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    [old] = slack.parents
    match trouble:
        case "deleted":
            old.deleted = True
        case "of another bot":
            old.ours = False
        case "too old":
            slack.edit_window = -1
        case _:
            slack.fail_next(UPDATE, refusal_with("is_inactive"))
    await send_all(sink, parts, message_of(EventType.JOB_PROGRESS))
    slack.edit_window = None
    await send_all(sink, parts, message_of(EventType.JOB_FAILED))
    new = slack.parents[-1]
    assert new is not old
    assert len(old.versions) == 1
    assert len(new.versions) == 2
    assert kinds(slack.thread(new)) == ["job.failed"]
    assert not slack.thread(old)


@pytest.mark.parametrize("channel", ["#other", "other", "C0OTHER0001"])
async def test_in_another_channel_the_job_begins_another_message(
    slack: SlackServer, sink: BotSink, parts: Parts, channel: str
) -> None:
    """If the config names another channel, the message in the old one stays."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    moved = sink_for(slack, channel=channel)
    await send_all(moved, parts, message_of(EventType.JOB_PROGRESS), message_of(EventType.JOB_FAILED))
    await moved.close()
    first, second = slack.parents
    assert (first.channel, len(first.versions)) == ("C0NETOPS001", 1)
    assert (second.channel, len(second.versions)) == ("C0OTHER0001", 2)


async def test_a_channel_by_its_id_is_the_same_channel(
    slack: SlackServer, sink: BotSink, parts: Parts
) -> None:
    """To write the id where the name stood moves nothing."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    by_id = sink_for(slack, channel="C0NETOPS001")
    await send_all(by_id, parts, message_of(EventType.JOB_FAILED))
    await by_id.close()
    assert len(slack.parents) == 1
