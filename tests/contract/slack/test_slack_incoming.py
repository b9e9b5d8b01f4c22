"""The Slack sink with an incoming webhook against a Slack-like server on loopback."""

import html
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer
from cmc_notify.simulator.slack import WEBHOOK, Fault, SlackServer
from cmc_notify.sinks.slack import PLUGIN, IncomingSink
from cmc_notify.sinks.slack.incoming import REPEAT
from cmc_notify.sinks.slack.limits import violations
from support.recorded_parts import Parts

MakeMessage = Callable[..., Message]
URL = "https://bridge.example.net/events/1?expires=1&signature=abc"


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    """A workspace whose webhook leads to #netops."""
    async with SlackServer() as server:
        yield server


@pytest.fixture
async def sink(slack: SlackServer) -> AsyncIterator[IncomingSink]:
    """A sink with the real templates."""
    built = sink_for(slack)
    yield built
    await built.close()


@pytest.fixture
def parts() -> Parts:
    """A recorder of accepted parts."""
    return Parts()


def sink_for(slack: SlackServer, **more: Any) -> IncomingSink:
    """A sink built as the application builds it."""
    given = {"type": "slack", "webhook_url": slack.webhook_url, **more}
    sink = PLUGIN.build("chat", PLUGIN.settings.model_validate(given), Renderer())
    assert isinstance(sink, IncomingSink)
    return sink


def shown(slack: SlackServer) -> list[str]:
    """Return what a reader sees of each message."""
    return [html.unescape("\n".join(message.texts)) for message in slack.messages]


async def test_a_message_is_posted_and_recorded(
    slack: SlackServer, sink: IncomingSink, make_message: MakeMessage, parts: Parts
) -> None:
    """One message with every failure."""
    outcome = await sink.send(make_message(texts=("Rule 12 is not defined",)), parts)
    assert isinstance(outcome, Sent)
    assert "Rule 12 is not defined" in shown(slack)[0]
    assert parts.recorded == {"message": "ok"}


@pytest.mark.parametrize("url", [URL, None])
async def test_a_long_list_goes_as_ten_messages_and_the_last_says_what_is_missing(
    slack: SlackServer, sink: IncomingSink, make_message: MakeMessage, parts: Parts, url: str | None
) -> None:
    """Numbered messages within the limits; the count is exact, and leads to the rest or says where it is."""
    texts = tuple(f"error {number:05} ".ljust(500, "z") for number in range(400))
    outcome = await sink.send(make_message(texts=texts, url=url), parts)
    assert isinstance(outcome, Sent)
    seen = shown(slack)
    assert 8 <= len(seen) <= 10
    assert all(f"({n}/{len(seen)})" in text.split("\n")[0] for n, text in enumerate(seen, 1))
    left = len(texts) - sum(text in "".join(seen) for text in texts)
    assert f"{left:,} more failures" in seen[-1]
    assert (url or "ledger") in seen[-1]
    assert all(violations(message.raw) == [] for message in slack.messages)


async def test_one_endless_text_is_cut_with_a_notice(
    slack: SlackServer, sink: IncomingSink, make_message: MakeMessage, parts: Parts
) -> None:
    """A single text beyond ten messages is not cut silently either."""
    outcome = await sink.send(make_message(texts=(), error_text="endless " * 40_000, url=URL), parts)
    assert isinstance(outcome, Sent)
    assert len(slack.messages) == 10
    assert "cut off here" in shown(slack)[-1]
    assert URL in shown(slack)[-1]


async def test_parts_that_were_accepted_are_not_sent_again(
    slack: SlackServer, sink: IncomingSink, make_message: MakeMessage, parts: Parts
) -> None:
    """After a refusal in the middle the rest follows, cut at the same places, also if it is unclear."""
    texts = tuple(f"error {number:05} ".ljust(500, "z") for number in range(60))
    message = make_message(texts=texts)
    slack.fail_next(WEBHOOK, Fault("drop"), after=2)
    assert isinstance(await sink.send(message, parts), Unclear)
    assert list(parts.recorded) == ["message", "message:2"]
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    seen = shown(slack)
    assert all("".join(seen).count(text) == 1 for text in texts)
    assert [REPEAT in text for text in seen] == [number == 2 for number in range(len(seen))]


async def test_a_repeat_is_marked(
    slack: SlackServer, sink: IncomingSink, make_message: MakeMessage, parts: Parts
) -> None:
    """A webhook can't be asked what arrived: the second copy says that it may be one."""
    message = make_message()
    slack.fail_next(WEBHOOK, Fault("drop", done=True))
    assert isinstance(await sink.send(message, parts), Unclear)
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    assert [REPEAT in text for text in shown(slack)] == [False, True]


def said(status: int, word: str) -> Fault:
    """A webhook's response in plain text."""
    return Fault("respond", status=status, body=word, content_type="text/plain")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (said(400, "invalid_payload"), Rejected),
        (said(400, "no_text"), Rejected),
        (said(400, "invalid_blocks"), Rejected),
        (said(403, "action_prohibited"), Blocked),
        (said(403, "invalid_token"), Blocked),
        (said(404, "no_service"), Blocked),
        (said(404, "channel_not_found"), Blocked),
        (said(410, "channel_is_archived"), Blocked),
        (said(429, "rate_limited"), RetryLater),
        (said(500, "rollup_error"), RetryLater),
        (said(500, "fatal_error"), Unclear),
        (said(502, "<html>"), RetryLater),
        (said(302, ""), Blocked),
        (said(418, "what is /services/T0SIMULATED/B0SIMULATED/simulated-secret"), Rejected),
        (Fault("drop"), Unclear),
        (Fault("hang"), Unclear),
    ],
)
async def test_each_answer_has_its_outcome(
    slack: SlackServer, make_message: MakeMessage, parts: Parts, fault: Fault, expected: type[SendOutcome]
) -> None:
    """Slack's words come before the status that they come with; no reason holds the secret address."""
    sink = sink_for(slack, timeout="300ms" if fault.kind == "hang" else "10s")
    slack.fail_next(WEBHOOK, fault)
    outcome = await sink.send(make_message(), parts)
    await sink.close()
    assert type(outcome) is expected
    assert "simulated-secret" not in repr(outcome)
    assert parts.recorded == {}


async def test_a_refused_connection_is_for_later(
    slack: SlackServer, make_message: MakeMessage, parts: Parts, closed_port: int
) -> None:
    """Nothing was written, so nothing can have arrived."""
    sink = sink_for(slack, webhook_url=f"http://127.0.0.1:{closed_port}{slack.webhook_path}")
    outcome = await sink.send(make_message(), parts)
    await sink.close()
    assert isinstance(outcome, RetryLater)
    assert "simulated-secret" not in repr(outcome)


async def test_the_probe_tells_nobody_anything(slack: SlackServer, sink: IncomingSink) -> None:
    """A webhook that exists refuses an empty message; one that was removed says so."""
    assert isinstance(await sink.probe(), Sent)
    slack.revoked = True
    assert isinstance(await sink.probe(), Blocked)
    assert slack.messages == []
