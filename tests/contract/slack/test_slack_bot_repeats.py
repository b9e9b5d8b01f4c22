"""Test that no message, reply or file is sent twice after a lost response."""

from collections.abc import Callable

import pytest

from cmc_notify.core.outcome import RetryLater, Sent, Unclear
from cmc_notify.ports import Message
from cmc_notify.simulator.slack import Fault, SlackServer, refusal_with
from cmc_notify.sinks.slack import BotSink
from cmc_notify.sinks.slack.part_sender import REPEAT
from support.recorded_parts import Parts
from support.slack_bot import MANY, sink_for, unescaped

MakeMessage = Callable[..., Message]
POST = "chat.postMessage"
COMPLETE = "files.completeUploadExternal"


async def test_parts_that_were_accepted_are_not_sent_again(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """After a refused file the next attempt sends only what is missing, into the same thread."""
    texts = tuple(f"error {number} ".ljust(400, "x") for number in range(3000))
    message = make_message(texts=texts)
    slack.fail_next("upload", Fault("respond", status=503, body="busy"))
    first = await sink.send(message, parts)
    assert isinstance(first, RetryLater)
    assert list(parts.recorded) == ["message", "thread"]
    slack.fail_next(COMPLETE, refusal_with("ratelimited"), after=1)
    second = await sink.send(parts.resumed(message), parts)
    assert isinstance(second, RetryLater)
    assert list(parts.recorded) == ["message", "thread", "file:1"]
    third = await sink.send(parts.resumed(message), parts)
    assert isinstance(third, Sent)
    assert len(slack.parents) == 1
    titles = [file.title for file in slack.files if file.channel]
    assert len(titles) == len(set(titles)) == len(parts.recorded) - 2


@pytest.mark.parametrize("stored", [True, False])
async def test_after_a_lost_answer_the_message_is_looked_for(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts, stored: bool
) -> None:
    """A message that was stored is found by its key; one that was not is sent; both stand there once."""
    message = make_message()
    await sink.send(make_message("another"), Parts())
    slack.fail_next(POST, Fault("drop", done=stored))
    first = await sink.send(message, parts)
    assert isinstance(first, Unclear)
    assert parts.recorded == {}
    second = await sink.send(parts.resumed(message, unclear=True), parts)
    assert isinstance(second, Sent)
    mine = [m for m in slack.messages if m.raw["metadata"]["event_payload"]["key"] == message.key]
    assert [f"{m.channel}:{m.ts}" for m in mine] == [second.receipt, parts.recorded["thread"]]
    assert second.receipt == parts.recorded["message"]
    assert REPEAT not in unescaped(mine[0])


async def test_a_fresh_sink_finds_the_channel_by_its_name_to_look_in_it(
    slack: SlackServer, make_message: MakeMessage, parts: Parts
) -> None:
    """After a restart nothing is known but the channel's name, and the message is found all the same."""
    message = make_message()
    slack.fail_next(POST, refusal_with("internal_error"))
    for unclear in (False, True, True):
        sink = sink_for(slack)
        outcome = await sink.send(parts.resumed(message, unclear=unclear), Parts())
        await sink.close()
        assert isinstance(outcome, Sent if unclear else Unclear)
    assert len(slack.parents) == 1


async def test_the_look_up_reads_every_page(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """A message behind 450 newer ones is found."""
    message = make_message()
    slack.fail_next(POST, Fault("drop", done=True))
    await sink.send(message, parts)
    for number in range(450):
        slack.say(str(number))
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    assert len(slack.parents) == 451


@pytest.mark.parametrize("stored", [True, False])
async def test_after_a_lost_answer_the_file_is_looked_for(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts, stored: bool
) -> None:
    """A file is found by its title, in the thread or among the channel's files, and shared once."""
    message = make_message(texts=MANY)
    slack.fail_next(COMPLETE, Fault("drop", done=stored))
    assert isinstance(await sink.send(message, parts), Unclear)
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    assert len([file for file in slack.files if file.channel]) == 1
    assert list(parts.recorded) == ["message", "thread", "file:1"]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("accepted", [0, 1, 3])
async def test_after_a_lost_answer_the_reply_is_looked_for(
    slack: SlackServer,
    sink: BotSink,
    make_message: MakeMessage,
    parts: Parts,
    *,
    stored: bool,
    accepted: int,
) -> None:
    """History does not show replies: they are found through conversations.replies."""
    slack.scopes.remove("files:write")
    message = make_message(texts=MANY[:100])
    slack.fail_next(POST, Fault("drop", done=stored), after=1 + accepted)
    assert isinstance(await sink.send(message, parts), Unclear)
    assert len(parts.recorded) == 1 + accepted
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    assert [posted.raw["metadata"]["event_payload"]["part"] for posted in slack.messages] == list(
        parts.recorded
    )
    assert all(REPEAT not in unescaped(posted) for posted in slack.messages)


async def test_replies_once_begun_are_continued(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """A right that is given in between does not make the list begin again as a file."""
    slack.scopes.remove("files:write")
    message = make_message(texts=MANY[:60])
    slack.fail_next(POST, refusal_with("ratelimited"), after=3)
    assert isinstance(await sink.send(message, parts), RetryLater)
    slack.scopes.add("files:write")
    assert isinstance(await sink.send(parts.resumed(message), parts), Sent)
    assert slack.files == []
    shown = "".join(map(unescaped, slack.thread(slack.parents[0])))
    assert all(shown.count(text) == 1 for text in message_texts(message))


def message_texts(message: Message) -> list[str]:
    """The text of every failure."""
    return [failure.error_text or "" for failure in message.event.failures]


async def test_where_looking_is_not_allowed_the_repeat_is_marked(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """Without a history scope the message goes out again, and says that it may be a repeat."""
    slack.scopes -= {"channels:history", "groups:history"}
    message = make_message()
    slack.fail_next(POST, Fault("drop", done=True))
    await sink.send(message, parts)
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    first, second = slack.parents
    assert REPEAT not in unescaped(first)
    assert REPEAT in unescaped(second)
    assert parts.posting is not None
    assert parts.posting.reference.endswith(second.ts)


async def test_nothing_is_sent_while_looking_is_not_possible_for_now(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """A look-up that is refused for now ends the attempt, with Slack's own wish when to come back."""
    message = make_message()
    slack.fail_next(POST, Fault("drop", done=True))
    await sink.send(message, parts)
    slack.rate_limit("conversations.list", seconds=7)
    outcome = await sink.send(parts.resumed(message, unclear=True), parts)
    assert isinstance(outcome, RetryLater)
    assert outcome.after == 7
    assert len(slack.messages) == 1
