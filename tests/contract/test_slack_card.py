"""The one message of a job in Slack: brought up to date in place, its thread complete, whatever happens."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from cmc_notify.core.events import Event, EventType, Failure
from cmc_notify.core.outcome import Blocked, RetryLater, Sent, Unclear
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Posting, Purpose
from cmc_notify.simulator.slack import Fault, SlackServer, refusal_with
from cmc_notify.simulator.slack_messages import SlackMessage
from cmc_notify.sinks.slack import BotSink
from cmc_notify.sinks.slack.part_sender import REPEAT
from support.recorded_parts import Parts
from support.slack_bot import URL, assert_harmless, everything, sink_for

POST, UPDATE = "chat.postMessage", "chat.update"
SUBJECT = "job:emea:42-1795425000"
JOB_EVENTS = [kind for kind in EventType if sample(kind).job]
QUIET = {EventType.JOB_CANCELED, EventType.JOB_REOPENED, EventType.APPLIANCE_FAILED}
BROADCAST = {
    EventType.JOB_FAILED, EventType.APPLIANCE_RECOVERED, EventType.JOB_OVERDUE, EventType.JOB_VANISHED,
}  # fmt: skip


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    """A workspace with the channel #netops."""
    async with SlackServer(channels={"netops": "C0NETOPS001", "other": "C0OTHER0001"}) as server:
        yield server


@pytest.fixture
async def sink(slack: SlackServer) -> AsyncIterator[BotSink]:
    """A sink for #netops with the real templates."""
    built = sink_for(slack)
    yield built
    await built.close()


@pytest.fixture
def parts() -> Parts:
    """A recorder of what was accepted and what stands."""
    return Parts()


def message_of(kind: EventType, *texts: str, **more: Any) -> Message:
    """An event of this type about one job, with one failure for each text."""
    event: Event = msgspec.structs.replace(sample(kind), url=URL)
    if texts:
        failures = tuple(
            Failure(f"V2AB{number:05}", f"edge-{number}", 3, "QoS", text, new=True)
            for number, text in enumerate(texts)
        )
        event = msgspec.structs.replace(event, failures=failures)
    return Message(key=f"key-{kind}", event=event, subject=SUBJECT, **more)


async def send_all(sink: BotSink, parts: Parts, *messages: Message) -> None:
    """Each in turn, as the outbox hands them out; all of them are taken."""
    for message in messages:
        outcome = await sink.send(parts.next(message), parts)
        assert isinstance(outcome, Sent), outcome


def kinds(replies: list[SlackMessage]) -> list[str]:
    """Return the messages that each reply was posted for, by key."""
    return [
        reply.raw["metadata"]["event_payload"]["key"].removeprefix("key-")
        for reply in replies
        if not reply.files
    ]


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


@pytest.mark.parametrize("done", [True, False])
async def test_an_update_whose_answer_was_lost_is_made_again(
    slack: SlackServer, sink: BotSink, parts: Parts, *, done: bool
) -> None:
    """It is the same message either way: nothing has to be looked for."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    own, message = Parts(), parts.next(message_of(EventType.JOB_FAILED))
    own.posting = parts.posting
    slack.fail_next(UPDATE, Fault("drop", done=done))
    assert isinstance(await sink.send(message, own), Unclear)
    assert own.recorded == {}
    assert isinstance(await sink.send(own.resumed(message, unclear=True), own), Sent)
    [card] = slack.parents
    assert card.text.startswith("🔴")
    assert kinds(slack.thread(card)) == ["job.failed"]
    assert {method for method, _ in slack.calls} == {POST, UPDATE}


@pytest.mark.parametrize("stored", [True, False])
async def test_a_card_posted_anew_whose_answer_was_lost_is_found(
    slack: SlackServer, sink: BotSink, parts: Parts, *, stored: bool
) -> None:
    """After an update that was refused for good, too, the new card is posted once."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    slack.parents[0].deleted = True
    own, message = Parts(), parts.next(message_of(EventType.JOB_FAILED))
    own.posting = parts.posting
    slack.fail_next(POST, Fault("drop", done=stored))
    assert isinstance(await sink.send(message, own), Unclear)
    assert isinstance(await sink.send(own.resumed(message, unclear=True), own), Sent)
    [card] = slack.parents
    assert own.posting is not None
    assert own.posting.reference == own.recorded["message"] == f"C0NETOPS001:{card.ts}"
    assert REPEAT not in everything(slack)


@pytest.mark.parametrize("stored", [True, False])
async def test_a_reply_shown_in_the_channel_whose_answer_was_lost_is_found(
    slack: SlackServer, sink: BotSink, parts: Parts, *, stored: bool
) -> None:
    """It is said once, in the thread and in the channel."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    own, message = Parts(), parts.next(message_of(EventType.JOB_FAILED))
    own.posting = parts.posting
    slack.fail_next(POST, Fault("drop", done=stored))
    assert isinstance(await sink.send(message, own), Unclear)
    assert list(own.recorded) == ["message"]
    assert isinstance(await sink.send(own.resumed(message, unclear=True), own), Sent)
    [card] = slack.parents
    [reply] = slack.thread(card)
    assert reply.broadcast
    assert REPEAT not in everything(slack)


async def test_an_updated_card_is_still_found_by_what_posted_it(
    slack: SlackServer, sink: BotSink, parts: Parts
) -> None:
    """A lease that ended between post and record: other replicas may have moved the card on meanwhile."""
    message = message_of(EventType.JOB_STARTED)
    await send_all(sink, parts, message, message_of(EventType.JOB_PROGRESS))
    again = Parts()
    assert isinstance(await sink.send(msgspec.structs.replace(message, unclear=True), again), Sent)
    assert len(slack.messages) == 1
    assert again.posting == parts.posting


@pytest.mark.parametrize("at", ["card", "reply"])
async def test_a_token_revoked_and_restored_loses_nothing(
    slack: SlackServer, sink: BotSink, parts: Parts, at: str
) -> None:
    """Held until somebody acts, then everything follows: the card, and every text in the thread."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    own, message = Parts(), parts.next(message_of(EventType.JOB_FAILED, "first reason", "second reason"))
    own.posting = parts.posting
    if at == "card":
        slack.revoked = True
    else:
        slack.fail_next(POST, refusal_with("token_revoked"))
    assert isinstance(await sink.send(message, own), Blocked)
    slack.revoked = False
    assert isinstance(await sink.send(own.resumed(message), own), Sent)
    [card] = slack.parents
    assert card.text.startswith("🔴")
    assert all(text in everything(slack, thread_only=True) for text in ("first reason", "second reason"))


async def test_a_thread_that_is_gone_is_begun_anew(slack: SlackServer, sink: BotSink, parts: Parts) -> None:
    """Somebody deletes the card between its update and the reply: the evidence stands beneath another."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    slack.fail_next(POST, refusal_with("thread_not_found"))
    await send_all(sink, parts, message_of(EventType.JOB_FAILED, "the reason"))
    new = slack.parents[-1]
    assert len(slack.parents) == 2
    assert "the reason" in everything(slack, thread_only=True)
    assert slack.messages[-1].thread_ts == new.ts
    assert parts.posting is not None
    assert parts.posting.reference.endswith(new.ts)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        *[(EventType.JOB_FAILED, texts) for texts in (1, 50, 3000, "hostile")],
        *[(EventType.APPLIANCE_FAILED, texts) for texts in (1, 50, "hostile")],
        *[(EventType.JOB_SUCCEEDED, texts) for texts in (1, 50)],
    ],
)
async def test_the_thread_has_every_text(
    slack: SlackServer, sink: BotSink, parts: Parts, texts: int | str, kind: EventType
) -> None:
    """Whatever the card shows of them, and whatever it shows later."""
    every = (
        [HOSTILE_TEXT] * 3
        if isinstance(texts, str)
        else [f"reason {number:05} ".ljust(300, "z") for number in range(texts)]
    )
    await send_all(sink, parts, message_of(EventType.JOB_STARTED), message_of(kind, *every))
    await send_all(sink, parts, message_of(EventType.JOB_SUCCEEDED, purpose=Purpose.FOLLOW))
    thread = everything(slack, thread_only=True)
    wanted = {line for text in every for line in visible(text).split("\n")}
    assert all(line in thread for line in wanted - set(thread.split("\n")))
    assert_harmless(slack)


async def test_an_update_waits_as_slack_wishes(slack: SlackServer, sink: BotSink, parts: Parts) -> None:
    """Too many updates are for later, by Slack's own word."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    slack.rate_limit(UPDATE, seconds=13)
    outcome = await sink.send(parts.next(message_of(EventType.JOB_PROGRESS)), parts)
    assert isinstance(outcome, RetryLater)
    assert outcome.after == 13


async def test_more_updates_than_slack_takes_are_for_later(
    slack: SlackServer, sink: BotSink, parts: Parts
) -> None:
    """The server keeps the documented fifty a minute, and the sink takes its word."""
    slack.pace = True
    await send_all(sink, parts, message_of(EventType.JOB_STARTED), *[message_of(EventType.JOB_PROGRESS)] * 50)
    assert isinstance(await sink.send(parts.next(message_of(EventType.JOB_PROGRESS)), parts), RetryLater)


async def test_a_posting_of_an_earlier_version_is_gone_on_with(
    slack: SlackServer, sink: BotSink, parts: Parts
) -> None:
    """One without notes is in this channel if its reference says so, else another card is posted."""
    await send_all(sink, parts, message_of(EventType.JOB_STARTED))
    [card] = slack.parents
    parts.posting = Posting(reference=f"C0NETOPS001:{card.ts}")
    by_id = sink_for(slack, channel="C0NETOPS001")
    await send_all(by_id, parts, message_of(EventType.JOB_FAILED))
    await by_id.close()
    assert len(slack.parents) == 1
    assert slack.messages[-1].broadcast


async def test_a_notification_says_what_failed_and_why(
    slack: SlackServer, sink: BotSink, parts: Parts
) -> None:
    """Phones and screen readers have the text alone: the headline, and the most frequent errors."""
    texts = ["connection timed out"] * 37 + ["<!channel> & no such class\nline 2"] * 2
    await send_all(sink, parts, message_of(EventType.JOB_FAILED, *texts))
    assert slack.parents[0].text.split("\n")[1:] == [
        "37 \u00d7 QoS: connection timed out",
        "2 \u00d7 QoS: &lt;!channel&gt; &amp; no such class line 2",
    ]
