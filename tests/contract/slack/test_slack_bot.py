"""The Slack sink with a bot token against a Slack-like server on loopback."""

import re
from collections.abc import Callable

import pytest

from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Sent
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.ports import Message
from cmc_notify.simulator.slack import SlackServer
from cmc_notify.sinks.slack import BotSink
from support.recorded_parts import Parts
from support.slack_bot import MANY, URL, assert_harmless, everything, unescaped

MakeMessage = Callable[..., Message]


async def test_a_job_has_a_card_and_its_event_stands_in_the_thread(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """Both hold every failure, carry the delivery's key in their metadata, and are recorded with receipts."""
    message = make_message(texts=("Rule 12 is not defined", "no answer"))
    outcome = await sink.send(message, parts)
    card, reply = slack.messages
    assert outcome == Sent(f"C0NETOPS001:{card.ts}")
    assert parts.recorded == {"message": f"C0NETOPS001:{card.ts}", "thread": f"C0NETOPS001:{reply.ts}"}
    assert reply.thread_ts == card.ts
    for posted, part in ((card, "message"), (reply, "thread")):
        assert "Rule 12 is not defined" in unescaped(posted)
        assert "no answer" in unescaped(posted)
        assert posted.raw["metadata"] == {
            "event_type": "cmc_notify",
            "event_payload": {"key": message.key, "part": part},
        }
        assert posted.raw["unfurl_links"] is False


async def test_what_is_no_jobs_is_one_message(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """Nothing of a controller or a sink is ever brought up to date: each event is a message of its own."""
    for kind in (EventType.CONTROLLER_UNREACHABLE, EventType.CONTROLLER_RECOVERED):
        message = Message(key=str(kind), event=sample(kind), subject="controller:emea")
        assert isinstance(await sink.send(parts.next(message), parts), Sent)
    assert [posted.thread_ts for posted in slack.messages] == [None, None]
    assert parts.posting is None
    assert "timed out after 30 s" in unescaped(slack.messages[0])


async def test_hostile_texts_arrive_complete_and_harmless(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """Every line of a hostile text can be read, and none of it is markup."""
    outcome = await sink.send(make_message(texts=(HOSTILE_TEXT,), error_text=HOSTILE_TEXT, url=URL), parts)
    assert isinstance(outcome, Sent)
    seen = everything(slack)
    for line in visible(HOSTILE_TEXT).split("\n"):
        assert line in seen
    assert_harmless(slack)


@pytest.mark.parametrize(
    ("count", "size"), [(50, 20_000), (10_000, 500)], ids=["50 of 20 KB", "10,000 of 500"]
)
async def test_what_no_message_holds_follows_as_files(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts, *, count: int, size: int
) -> None:
    """A card in the channel; in its thread a short message and files of at most 1 MB, every text exact."""
    texts = tuple(f"<!channel> & {number:05} ".ljust(size, "y") for number in range(count))
    message = make_message(texts=texts, url=URL)
    outcome = await sink.send(message, parts)
    assert isinstance(outcome, Sent)
    [parent] = slack.parents
    shared = [file for reply in slack.thread(parent) for file in reply.files]
    assert all(len(file.content or b"") <= 1_000_000 for file in shared)
    listed = b"".join(file.content or b"" for file in shared).decode()
    found = set(re.findall(r"<!channel> & \d{5} y+", listed))
    assert found == set(texts)
    numbers = range(1, len(shared) + 1)
    assert [
        f"({n}/{len(shared)}) [{message.key}#{n}]" in (f.title or "")
        for n, f in zip(numbers, shared, strict=True)
    ] == [True] * len(shared)
    assert list(parts.recorded) == ["message", "thread", *[f"file:{n}" for n in numbers]]
    assert_harmless(slack)


async def test_without_the_right_to_upload_the_texts_go_as_replies(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """At most ten replies, the last of which says how many failures are missing and links to them."""
    slack.scopes.remove("files:write")
    texts = tuple(f"error {number:05} ".ljust(500, "z") for number in range(400))
    outcome = await sink.send(make_message(texts=texts, url=URL), parts)
    assert isinstance(outcome, Sent)
    [parent] = slack.parents
    _, *replies = slack.thread(parent)
    assert 5 < len(replies) <= 10
    shown = "".join(map(unescaped, replies))
    left = len(texts) - sum(text in shown for text in texts)
    assert f"{left:,} more failures" in unescaped(replies[-1])
    assert URL in unescaped(replies[-1])
    assert not slack.files
    assert_harmless(slack)


async def test_replies_hold_everything_where_they_can(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """Texts that fit into ten replies are all there, and nothing is said to be missing."""
    slack.scopes.remove("files:write")
    texts = MANY[:60]
    await sink.send(make_message(texts=texts), parts)
    shown = "".join(map(unescaped, slack.messages))
    assert all(text in shown for text in texts)
    assert "did not fit" not in shown
