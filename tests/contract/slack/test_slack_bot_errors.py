"""Test the outcome of each of Slack's errors, probes, and responses without end."""

import asyncio
import gzip
from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message, Rendered, SizeLimits
from cmc_notify.rendering import Renderer
from cmc_notify.simulator.slack import Fault, SlackServer, refusal_with
from cmc_notify.sinks.slack import PLUGIN, BotSink
from cmc_notify.sinks.slack.client import SlackClient, SlackResponse
from support.recorded_parts import Parts
from support.slack_bot import MANY, everything, sink_for, unescaped

MakeMessage = Callable[..., Message]
POST = "chat.postMessage"


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
