"""The Socket Mode connection: kept, replaced, opened again after an outage, and never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import EventDict

from cmc_notify.chatops import socket_mode as sockets
from cmc_notify.simulator.slack import Fault, refusal_with
from cmc_notify.simulator.slack_people import InteractiveSlack
from cmc_notify.sinks.slack import SlackSettings
from cmc_notify.sinks.slack.buttons import ACKNOWLEDGE, CANCEL
from cmc_notify.telemetry import Metrics
from support.chatops_harness import ANNA, ChatHarness, chat_harness

OPEN = "apps.connections.open"


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ChatHarness]:
    """Connected; waits are short."""
    monkeypatch.setattr(sockets, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(sockets, "MAX_RETRY", 0.05)
    async with chat_harness(tmp_path) as made:
        yield made


@pytest.fixture
def log() -> Iterator[LogCapture]:
    """What is logged."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(**before)


def sample(harness: ChatHarness, name: str) -> float:
    """A metric of the sink."""
    return harness.metrics.registry.get_sample_value(f"cmc_notify_{name}", {"sink": "chat"}) or 0.0


async def test_a_connection_that_slack_replaces(harness: ChatHarness) -> None:
    """As it does every few hours: another is opened at once, no outage is counted, presses arrive."""
    for number in (2, 3):
        await harness.slack.sockets.disconnect("refresh_requested")
        await harness.slack.sockets.wait_opened(number)
        await harness.slack.sockets.wait_connected()
    assert (await harness.slack.press(harness.message, CANCEL, ANNA)).status == 200
    await harness.slack.wait_shown_to(ANNA)
    assert sample(harness, "chat_socket_outages_total") == 0


async def test_a_connection_that_is_lost_comes_back(harness: ChatHarness, log: LogCapture) -> None:
    """Through refusals, nonsense and lost answers; logged once for each reason, counted as one outage."""
    harness.slack.fail_next(
        OPEN,
        *[refusal_with("internal_error")] * 3,
        Fault("respond", body='{"ok": true, "url": "http://127.0.0.1/"}'),
        Fault("respond", body='{"ok": true, "url": "ws://127.0.0.1:1/"}'),
        Fault("drop"),
        refusal_with("ratelimited"),
    )
    assert sample(harness, "chat_sockets") == 1
    await harness.slack.sockets.drop()
    await harness.slack.sockets.wait_opened(2)
    await harness.slack.sockets.wait_connected()
    assert (await harness.slack.press(harness.message, ACKNOWLEDGE, ANNA)).status == 200
    assert sample(harness, "chat_socket_outages_total") == 1
    assert sample(harness, "chat_sockets") == 1
    lost = [line["reason"] for line in log.entries if line["event"] == "chat.socket_lost"]
    assert len(lost) == len(set(lost))
    assert any("internal_error" in reason for reason in lost)
    assert harness.slack.app_token not in str(log.entries)


async def test_a_token_that_is_refused_is_asked_again(tmp_path: Path, harness: ChatHarness) -> None:
    """What an operator mends in the app's settings works without a restart."""
    right, harness.slack.app_token = harness.slack.app_token, "xapp-other"
    await harness.slack.sockets.disconnect("link_disabled")
    await harness.slack.wait(lambda slack: [call[0] for call in slack.calls].count(OPEN) >= 3)
    assert sample(harness, "chat_sockets") == 0
    assert sample(harness, "chat_socket_outages_total") == 1
    harness.slack.app_token = right
    await harness.slack.sockets.wait_opened(2)


@pytest.mark.parametrize(
    ("reason", "said"), [("too_many_websockets", "fewer replicas"), ("<odd>", "Slack ended the connection")]
)
async def test_an_end_that_is_no_move(harness: ChatHarness, log: LogCapture, reason: str, said: str) -> None:
    """It counts as an outage with its remedy, is waited after, and ends by itself."""
    await harness.slack.sockets.disconnect(reason)
    await harness.slack.sockets.wait_opened(2)
    assert sample(harness, "chat_socket_outages_total") == 1
    [lost] = [line["reason"] for line in log.entries if line["event"] == "chat.socket_lost"]
    assert said in lost


async def test_a_server_that_never_greets(harness: ChatHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is given up, and another opened."""
    monkeypatch.setattr(sockets, "HELLO_TIMEOUT", 0.2)
    greetings = iter(["silence"])
    hello = harness.slack.sockets._hello
    monkeypatch.setattr(
        harness.slack.sockets, "_hello", lambda: {"type": "mute"} if next(greetings, None) else hello()
    )
    await harness.slack.sockets.disconnect()
    await harness.slack.sockets.wait_opened(3)
    await harness.slack.sockets.wait_connected()
    assert sample(harness, "chat_socket_outages_total") == 1


@pytest.mark.parametrize("by", ["authority", "pin", "nothing", "another pin"])
async def test_the_connection_heeds_the_sinks_tls(by: str, certificates: Any, log: LogCapture) -> None:
    """As for messages: by a private authority or a pinned certificate; any other server is not spoken to."""
    tls = {
        "authority": {"ca_file": str(certificates.ca_file)},
        "pin": {"fingerprint_sha256": certificates.fingerprint},
        "nothing": {},
        "another pin": {"fingerprint_sha256": "0" * 64},
    }[by]
    slack = InteractiveSlack()
    await slack.start(ssl_context=certificates.server)
    document = {"token": slack.token, "channel": "#netops", "api_url": slack.api_url, "tls": tls}
    settings = SlackSettings.model_validate(document | {"app_token": slack.app_token})

    async def take(_kind: str, _payload: object) -> None:
        raise AssertionError

    told = asyncio.Event()

    def note(logger: Any, method: str, entry: EventDict) -> EventDict:
        told.set()
        return log(logger, method, entry)

    structlog.configure(processors=[note])
    connection = sockets.SocketModeConnection("chat", settings, take, metrics=Metrics())
    running = asyncio.create_task(connection.run())
    async with asyncio.timeout(10):
        await told.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await slack.stop()
    assert slack.sockets.opened_count == (1 if by in ("authority", "pin") else 0)
    [line] = log.entries
    assert line["event"] == ("chat.socket_connected" if slack.sockets.opened_count else "chat.socket_lost")


async def test_a_stop_finishes_what_was_begun(harness: ChatHarness) -> None:
    """Within the grace: the press that is being acted upon comes to its end, and no socket stays."""
    harness.controller.answering.clear()
    await harness.slack.press(harness.message, CANCEL, ANNA)
    await harness.controller.called.wait()
    stopping = asyncio.create_task(harness.chat.stop(5))
    await harness.slack.sockets.wait_connected(0)
    assert not stopping.done()
    harness.controller.answering.set()
    await stopping
    assert await harness.outcomes() == [("cancel", "done", ANNA.id)]
    assert sample(harness, "chat_sockets") == 0


async def test_a_stop_does_not_wait_for_ever(harness: ChatHarness) -> None:
    """What hangs beyond the grace is cut off, and stays in the audit as begun."""
    harness.controller.answering.clear()
    await harness.slack.press(harness.message, CANCEL, ANNA)
    await harness.controller.called.wait()
    await harness.chat.stop(0.05)
    assert await harness.outcomes() == [("cancel", "begun", ANNA.id)]
