"""Test cards after lost responses, revoked tokens, deleted threads and rate limits."""

import msgspec
import pytest

from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, RetryLater, Sent, Unclear
from cmc_notify.core.samples import HOSTILE_TEXT
from cmc_notify.core.text import visible
from cmc_notify.ports import Posting, Purpose
from cmc_notify.simulator.slack import Fault, SlackServer, refusal_with
from cmc_notify.sinks.slack import BotSink
from cmc_notify.sinks.slack.part_sender import REPEAT
from support.recorded_parts import Parts
from support.slack_bot import assert_harmless, everything, sink_for
from support.slack_cards import POST, UPDATE, kinds, message_of, send_all


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
