"""What Slack posts to the bridge's own port: signed or nothing."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlencode

import pytest
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from cmc_notify.settings import HttpSettings
from cmc_notify.simulator.slack_people import signature
from cmc_notify.sinks.slack.buttons import CANCEL
from cmc_notify.web import LiveController, LiveSink, create_app
from support.chatops_harness import ANNA, BERT, ChatHarness, chat_harness


class Nobody:
    """No controller and no sink runs here."""

    stopping = False

    def controllers(self) -> Sequence[LiveController]:
        """None."""
        return []

    def sinks(self) -> Sequence[LiveSink]:
        """None."""
        return []


class Port:
    """The bridge's port, at which nobody is known but by a token or a signature."""

    def __init__(self, harness: ChatHarness, base: str) -> None:
        self.harness = harness
        self.base = base
        self.presses = f"{base}slack/chat/interactions"
        self.commands = f"{base}slack/chat/commands"

    def body(self) -> str:
        """A press of Anna's on Cancel."""
        payload = self.harness.slack.pressed(self.harness.message, CANCEL, ANNA)
        return urlencode({"payload": json.dumps(payload)})


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    """Served with a token, as to other machines."""
    async with chat_harness(tmp_path, clock=time.time) as harness:
        app = create_app(
            ledger=harness.store.ledger,
            status=Nobody(),
            metrics=harness.metrics,
            rules=lambda: HttpSettings(listen="0.0.0.0:0", token=SecretStr("page-token-" * 2)).rules,
            sessions=harness.store.sessions,
            silences=harness.store.silences,
            actions=harness.store.chat_actions,
            chat=lambda: harness.chat,
        )
        async with TestServer(app) as server:
            yield Port(harness, str(server.make_url("/")))


async def test_a_signed_press_works_without_the_pages_token(port: Port) -> None:
    """Acknowledged at once, and done as by Socket Mode; the audit knows the way."""
    ack = await port.harness.slack.press(port.harness.message, CANCEL, ANNA, url=port.presses)
    assert (ack.status, ack.payload) == (200, None)
    assert "Canceled" in (await port.harness.slack.wait_shown_to(ANNA))[0]
    assert port.harness.controller.asked == 1
    [action] = await port.harness.store.chat_actions.actions()
    assert (action.via, action.outcome, action.who) == ("http", "done", ANNA.id)


async def test_a_press_is_acknowledged_while_the_controller_hangs(port: Port) -> None:
    """Within Slack's three seconds by far."""
    port.harness.controller.answering.clear()
    ack = await port.harness.slack.press(port.harness.message, CANCEL, ANNA, url=port.presses)
    assert ack.status == 200
    assert ack.seconds < 1
    await port.harness.controller.called.wait()
    port.harness.controller.answering.set()
    await port.harness.slack.wait_shown_to(ANNA)


async def test_what_is_not_signed_by_the_app_changes_nothing(port: Port) -> None:
    """Forged, old, from the future, of another body, cut, garbled: 401, counted, written down, not done."""
    slack, body = port.harness.slack, port.body()
    now = time.time()
    other = port.body().replace(ANNA.id, BERT.id)
    assert (await slack.post(port.presses, body, secret="guessed")).status == 401
    assert (await slack.post(port.presses, body, at=now - 301)).status == 401
    assert (await slack.post(port.presses, body, at=now + 310)).status == 401
    assert (await slack.post(port.presses, body, sent=other)).status == 401
    assert (await slack.post(port.commands, "text=status", secret="guessed")).status == 401
    for change in (
        {"X-Slack-Signature": ""},
        {"X-Slack-Signature": "v0=é"},
        {"X-Slack-Request-Timestamp": "yesterday"},
        {"X-Slack-Request-Timestamp": "9" * 5000},
    ):
        headers = signature(slack.signing_secret, body) | change
        assert (await slack.post_raw(port.presses, body.encode(), headers)).status == 401
    stamped = signature(slack.signing_secret, "x")
    assert (await slack.post_raw(port.presses, b"\xff", stamped)).status == 401
    assert (await slack.post_raw(port.presses, body.encode(), {})).status == 401
    await port.harness.chat.stop(5)
    assert port.harness.controller.asked == 0
    assert not slack.ephemerals
    assert not port.harness.replies()
    assert port.harness.counted("unknown", "forged") == 11
    actions = await port.harness.store.chat_actions.actions()
    assert {action.outcome.value for action in actions} == {"forged"}
    assert len(actions) == 10, "a flood of them must not fill the store"
    assert sum("s from our clock" in (action.answer or "") for action in actions) == 2


async def test_a_copy_that_is_sent_again_in_time_is_not_done_again(port: Port) -> None:
    """A genuine request that somebody recorded is answered, and acts once."""
    body = port.body()
    for _ in range(3):
        assert (await port.harness.slack.post(port.presses, body)).status == 200
    await port.harness.slack.wait_shown_to(ANNA)
    await port.harness.chat.stop(5)
    assert port.harness.controller.asked == 1
    assert len(port.harness.slack.ephemerals) == 1


async def test_a_press_whose_body_comes_after_the_stop_begins_nothing(port: Port) -> None:
    """A reload while it is being received: it is refused, so that nothing is begun that nobody ends."""
    body = port.body().encode()
    slack, stopped = port.harness.slack, asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:100]
        await port.harness.chat.stop(5)
        stopped.set()
        yield body[100:]

    ack = await slack.post_raw(port.presses, slowly(), signature(slack.signing_secret, body.decode()))
    assert stopped.is_set()
    assert ack.status == 503
    assert await port.harness.store.chat_actions.actions() == []


async def test_bodies_are_bounded_and_nonsense_is_refused(port: Port) -> None:
    """Too much is not read, what is signed but no press gets 400, and other sinks have no such address."""
    slack = port.harness.slack
    assert (await slack.post(port.presses, "x" * 65_537)).status == 413

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000

    headers = signature(slack.signing_secret, "x")
    assert (await slack.post_raw(port.presses, endless(), headers)).status in (413, None)
    for body in ("", "payload=", "payload=no+json", "a=" + "&a=" * 200):
        assert (await slack.post(port.presses, body)).status == 400
    assert (await slack.post(port.commands, "text=status")).status == 400
    assert (await slack.post(port.commands, "ssl_check=1")).status == 200
    assert (await slack.post(f"{port.base}slack/mail/interactions", port.body())).status == 404
    assert (await slack.post(f"{port.base}slack/chat/other", port.body())).status == 401
    assert (await slack.post(f"{port.base}api/v1/status", port.body())).status == 401
    assert port.harness.controller.asked == 0


async def test_nothing_is_begun_that_would_be_cut_short(port: Port) -> None:
    """Once it stops, who presses is shown an error, and tries again."""
    await port.harness.chat.stop(5)
    assert (await port.harness.slack.post(port.presses, port.body())).status == 503
    assert await port.harness.store.chat_actions.actions() == []


async def test_a_command_is_answered_in_the_answer(port: Port) -> None:
    """To the one who asked alone."""
    ack = await port.harness.slack.command("help", ANNA, url=port.commands)
    assert ack.payload
    assert ack.payload["response_type"] == "ephemeral"
    assert "/cmc failures" in json.dumps(ack.payload["blocks"])


async def test_a_sink_without_a_secret_has_no_way_in(tmp_path: Path) -> None:
    """Socket Mode alone opens nothing on the port."""
    async with chat_harness(tmp_path, signing_secret=None) as harness:
        app = harness.chat.app_of("chat")
        assert app
        assert app.signature_check is None
