"""The Slack sink with a bot token against a Slack-like server on loopback."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Rendered, SizeLimits
from cmc_notify.rendering import Renderer
from cmc_notify.simulator.slack import Fault, SlackServer, refusal_with
from cmc_notify.sinks.slack import PLUGIN, BotSink
from cmc_notify.sinks.slack.client import SlackClient, SlackResponse
from cmc_notify.sinks.slack.part_sender import REPEAT
from support.recorded_parts import Parts
from support.slack_bot import MANY, URL, assert_harmless, everything, sink_for, unescaped

MakeMessage = Callable[..., Message]
POST = "chat.postMessage"
COMPLETE = "files.completeUploadExternal"


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    """A workspace with the channel #netops."""
    async with SlackServer() as server:
        yield server


@pytest.fixture
async def sink(slack: SlackServer) -> AsyncIterator[BotSink]:
    """A sink for #netops with the real templates."""
    built = sink_for(slack)
    yield built
    await built.close()


@pytest.fixture
def parts() -> Parts:
    """A recorder of accepted parts."""
    return Parts()


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


OPERATOR = [
    "channel_not_found", "not_in_channel", "is_archived", "invalid_auth", "not_authed", "account_inactive",
    "token_revoked", "token_expired", "missing_scope", "no_permission", "restricted_action",
    "restricted_action_read_only_channel",
]  # fmt: skip
FAULTS = [
    "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "no_text", "metadata_too_large",
    "invalid_arguments", "invalid_arg_name",
]  # fmt: skip
PASSING = ["ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *[(code, Blocked) for code in OPERATOR],
        *[(code, Rejected) for code in FAULTS],
        *[(code, RetryLater) for code in PASSING],
        ("fatal_error", Unclear),
        ("internal_error", Unclear),
        ("an_error_of_next_year", RetryLater),
    ],
)
async def test_each_error_code_has_its_outcome(
    slack: SlackServer,
    sink: BotSink,
    make_message: MakeMessage,
    parts: Parts,
    *,
    code: str,
    expected: type[SendOutcome],
) -> None:
    """The classes of Slack's documents; a code that nobody knows is tried again until the deadline."""
    slack.fail_next(POST, refusal_with(code, needed="chat:write"))
    outcome = await sink.send(make_message(), parts)
    assert type(outcome) is expected
    assert code in getattr(outcome, "reason", "")
    assert parts.recorded == {}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("respond", status=500, body="oops", content_type="text/plain"), RetryLater),
        (Fault("respond", status=502, body="<html>bad gateway</html>", content_type="text/html"), RetryLater),
        (Fault("respond", status=503, body="not json"), RetryLater),
        (Fault("respond", status=200, body="not json"), Unclear),
        (Fault("respond", status=200, body="captive portal", content_type="text/plain"), Unclear),
        (Fault("respond", status=200, body="[]"), Unclear),
        (Fault("respond", status=200, body='{"ok": true}'), Unclear),
        (Fault("respond", status=200, body=""), Unclear),
        (Fault("respond", status=403, body="proxy says no", content_type="text/plain"), Blocked),
        (Fault("respond", status=302, headers=(("Location", "/api/auth.test"),)), Blocked),
        (Fault("respond", status=307, headers=(("Location", "http://127.0.0.1:1/"),)), Blocked),
        (Fault("drop"), Unclear),
        (Fault("hang"), Unclear),
    ],
)
async def test_answers_that_are_not_slacks_have_their_outcome(
    slack: SlackServer, make_message: MakeMessage, parts: Parts, fault: Fault, expected: type[SendOutcome]
) -> None:
    """Gateways, captive portals, redirects, lost connections and time-outs."""
    sink = sink_for(slack, timeout="300ms" if fault.kind == "hang" else "10s")
    slack.fail_next(POST, fault)
    outcome = await sink.send(make_message(), parts)
    await sink.close()
    assert type(outcome) is expected
    assert [method for method, _ in slack.calls] == [POST]


async def test_retry_after_is_honoured(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """429 says in seconds when to come back."""
    slack.rate_limit(POST, seconds=17)
    outcome = await sink.send(make_message(), parts)
    assert isinstance(outcome, RetryLater)
    assert outcome.after == 17


async def test_a_refused_connection_is_for_later(
    make_message: MakeMessage, parts: Parts, closed_port: int, slack: SlackServer
) -> None:
    """Nothing was written, so nothing can have arrived."""
    sink = sink_for(slack, api_url=f"http://127.0.0.1:{closed_port}/api/")
    outcome = await sink.send(make_message(), parts)
    await sink.close()
    assert isinstance(outcome, RetryLater)


async def test_a_revoked_token_blocks_until_it_is_restored(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """The probe succeeds once an operator has acted, and then the same message is sent."""
    slack.revoked = True
    assert isinstance(await sink.send(make_message(), parts), Blocked)
    assert isinstance(await sink.probe(), Blocked)
    slack.revoked = False
    assert isinstance(await sink.probe(), Sent)
    assert isinstance(await sink.send(make_message(), parts), Sent)


async def test_the_probe_names_what_is_missing(slack: SlackServer, sink: BotSink) -> None:
    """Without optional scopes it says what goes without them; without chat:write it is Blocked."""
    slack.scopes -= {"files:write", "channels:history", "groups:history"}
    outcome = await sink.probe()
    assert isinstance(outcome, Sent)
    assert "without files:write" in str(outcome.receipt)
    assert "without channels:history" in str(outcome.receipt)
    slack.scopes.remove("chat:write")
    assert isinstance(await sink.probe(), Blocked)
    assert slack.messages == []


@pytest.mark.parametrize("trouble", ["unknown", "archived", "no member"])
async def test_the_probe_looks_at_the_channel(slack: SlackServer, trouble: str) -> None:
    """A channel that can't be posted to is found before the first message."""
    sink = sink_for(slack, channel="#other" if trouble == "unknown" else "netops")
    if trouble == "archived":
        slack.archived.add("C0NETOPS001")
    if trouble == "no member":
        slack.members.clear()
    outcome = await sink.probe()
    await sink.close()
    assert isinstance(outcome, Blocked)


async def test_no_reason_holds_the_token(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """No secret gets out even if Slack echoes it; an invalid code is not passed on at all."""
    slack.fail_next(
        POST,
        refusal_with(slack.token),
        refusal_with("missing_scope", needed=slack.token),
        refusal_with("line\nbreak <!channel>"),
    )
    outcomes = [await sink.send(make_message(), parts) for _ in range(3)]
    assert slack.token not in repr(outcomes)
    assert "an unreadable error" in repr(outcomes[-1])
    assert slack.token not in repr(sink)


async def test_a_cancelled_send_records_nothing_and_is_found_later(
    slack: SlackServer, sink: BotSink, make_message: MakeMessage, parts: Parts
) -> None:
    """A message that was stored while its sender was cancelled is not sent a second time."""
    message = make_message()
    slack.fail_next(POST, Fault("hang", done=True))
    sending = asyncio.create_task(sink.send(message, parts))
    await slack.wait(lambda server: len(server.calls) == 1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert parts.recorded == {}
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    assert len(slack.parents) == 1


async def test_a_template_that_knows_no_brevity_is_cut_with_a_notice(
    slack: SlackServer, make_message: MakeMessage, parts: Parts
) -> None:
    """Card and reply say that there is more and where, and the file has it."""

    class Wordy:
        def render(
            self,
            _type: str,
            _ext: str,
            message: Message,
            *,
            brief: bool = False,
            size_limits: SizeLimits | None = None,
        ) -> Rendered:
            assert brief in (True, False)
            assert size_limits is None
            return Rendered("\n".join(["Headline", *[str(f.error_text) for f in message.event.failures]]))

    settings = {"token": slack.token, "channel": "C0NETOPS001", "api_url": slack.api_url}
    sink = PLUGIN.build("chat", PLUGIN.settings.model_validate(settings), Wordy())
    outcome = await sink.send(make_message(texts=MANY), parts)
    await sink.close()
    assert isinstance(outcome, Sent)
    assert "the thread has the whole" in unescaped(slack.parents[0])
    assert "complete list follows in the thread" in unescaped(slack.messages[1])
    assert all(text in everything(slack, thread_only=True) for text in MANY)


async def test_an_answer_without_end_fills_no_memory(make_message: MakeMessage, parts: Parts) -> None:
    """A megabyte that unfolds to a gigabyte is left unread, and the message is in doubt."""
    unfolds = gzip.compress(bytes(2**30), 1)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=unfolds, headers={"Content-Encoding": "gzip"})

    app = web.Application()
    app.router.add_post("/api/{method}", answer)
    async with TestServer(app) as server:
        given = {"type": "slack", "token": "xoxb-1", "channel": "C0NETOPS001"}
        api_url = str(server.make_url("/api/"))
        sink = PLUGIN.build("chat", PLUGIN.settings.model_validate({**given, "api_url": api_url}), Renderer())
        outcome = await sink.send(make_message(texts=("no answer",)), parts)
        await sink.close()
    assert isinstance(outcome, Unclear)
    assert "larger than" in outcome.reason


async def test_a_list_does_not_leave_tls_on_slacks_word(
    monkeypatch: pytest.MonkeyPatch, make_message: MakeMessage, parts: Parts
) -> None:
    """If the API uses https, an upload URL without it is not used."""
    asked: list[str] = []

    async def call(_client: SlackClient, method: str, **_arguments: object) -> SlackResponse:
        if method == "files.getUploadURLExternal":
            return SlackResponse({"upload_url": "http://files.example.net/upload", "file_id": "F1"}, {})
        return SlackResponse({"ok": True, "channel": "C0NETOPS001", "ts": "1795425600.000100"}, {})

    async def upload(_client: SlackClient, url: str, _content: bytes) -> None:
        asked.append(url)

    monkeypatch.setattr(SlackClient, "call", call)
    monkeypatch.setattr(SlackClient, "upload", upload)
    settings = {"type": "slack", "token": "xoxb-1", "channel": "#netops"}
    sink = PLUGIN.build("chat", PLUGIN.settings.model_validate(settings), Renderer())
    outcome = await sink.send(make_message(texts=MANY), parts)
    await sink.close()
    assert isinstance(outcome, Blocked)
    assert asked == []
