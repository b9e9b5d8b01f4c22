"""``/cmc``: to the one who asks, where the messages are, within one message, and harmless."""

import asyncio
import html
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cmc_notify.chatops import service
from cmc_notify.core.model import TrackedFailure
from cmc_notify.core.samples import HOSTILE_TEXT
from cmc_notify.ports import ControllerMeta, PollCommit
from cmc_notify.sinks.slack.limits import violations
from support.chatops_harness import ANNA, NOW, ChatHarness, chat_harness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ChatHarness]:
    """One open job, no open failure."""
    async with chat_harness(tmp_path) as made:
        yield made


async def ask(harness: ChatHarness, text: str, **more: Any) -> str:
    """What the command answers, as it is read; its message is one that Slack takes."""
    ack = await harness.slack.command(text, ANNA, **more)
    assert ack.payload is not None
    assert ack.payload["response_type"] == "ephemeral"
    assert violations(ack.payload) == []
    assert ack.seconds < 3
    return html.unescape("\n".join(texts(ack.payload)))


def texts(payload: Mapping[str, Any]) -> list[str]:
    """The texts of the blocks."""
    return [block["text"]["text"] for block in payload["blocks"] if "text" in block]


def failed(number: int, **fields: Any) -> TrackedFailure:
    """An open failure."""
    plain = TrackedFailure(
        id=f"i{number:05}",
        controller="emea",
        serial=f"V2AB{number:04}",
        feature_id=3,
        feature="QoS",
        appliance=f"edge-{number}",
        error_text="no route",
        opened_at=NOW,
        opened_event="e1",
        job_uid="42-1795420000",
        job_id=42,
        last_job_uid="42-1795420000",
        failed_order=(1, 42),
    )
    return replace(plain, **fields)


async def commit(harness: ChatHarness, incidents: Sequence[TrackedFailure], **meta: Any) -> None:
    """Write open failures as a poll does."""
    await harness.store.poll.commit_poll(
        PollCommit(
            controller="emea",
            expected_version=1,
            meta=replace(ControllerMeta(first_run_done=True, last_poll_at=NOW), **meta),
            failures=tuple(incidents),
        )
    )


async def test_status(harness: ChatHarness) -> None:
    """Controllers, open jobs, open failures and sinks in trouble; a bare command asks the same."""
    await commit(harness, [failed(1)], unreachable_since=NOW, last_error="no route to <host>")
    harness.troubles["mail"] = "535 refused"
    said = await ask(harness, "")
    assert said == await ask(harness, "STATUS")
    for line in (
        "1 open failure, 1 open job",
        "*emea*: unreachable (no route to <host>), 1 open failure",
        "*apac*: not polled yet, 0 open failures",
        "emea: job 42 InProgress, 1 failed",
        "sink *mail* is in trouble: 535 refused",
    ):
        assert line in said


async def test_failures_are_grouped(harness: ChatHarness) -> None:
    """The error that hit most comes first, with whom it hit; one controller may be asked for."""
    assert "No open failures" in await ask(harness, "failures")
    many = [failed(number) for number in range(20)]
    await commit(harness, [failed(99, error_text="other"), *many])
    said = await ask(harness, "failures emea")
    most, least = (
        "*QoS failed on 20 appliances* (emea): no route",
        "*QoS failed on 1 appliance* (emea): other",
    )
    assert said.index(most) < said.index(least)
    assert "edge-0, edge-1" in said
    assert "and 8 more" in said
    assert "<https://bridge.example.net/|Show all>" in said
    assert "No open failures at apac" in await ask(harness, "failures apac")
    assert "There is no controller mars" in await ask(harness, "failures mars")


async def test_any_number_of_hostile_failures_is_one_harmless_message(harness: ChatHarness) -> None:
    """What does not fit is said not to fit, and nothing in it is markup."""
    hostile = [
        failed(n, error_text=f"{n} {HOSTILE_TEXT}", appliance=HOSTILE_TEXT, feature=HOSTILE_TEXT)
        for n in range(300)
    ]
    await commit(harness, hostile)
    ack = await harness.slack.command("failures", ANNA)
    assert ack.payload
    assert violations(ack.payload) == []
    shown = json.dumps(ack.payload)
    assert "300 open failures" in shown
    assert "This is not all: the rest does not fit here" in shown
    assert "<!channel>" not in shown
    assert "<@U" not in shown


async def test_help_and_what_is_not_understood(harness: ChatHarness) -> None:
    """Each says what can be asked."""
    assert "/cmc failures" in await ask(harness, "help")
    said = await ask(harness, "cancel 42 <!channel>")
    assert "/cmc does not know this command: cancel 42 <!channel>" in said
    assert "/cmc failures" in said


async def test_only_where_its_messages_are(harness: ChatHarness) -> None:
    """In another channel it says where to ask; a channel given by name is known by its id, too."""
    harness.slack.channels["random"] = "C0RANDOM001"
    said = await ask(harness, "failures", channel="C0RANDOM001")
    assert said == "Please use this command in #netops, where the messages are"


async def test_asking_in_the_wrong_place_does_not_use_up_slacks_patience(harness: ChatHarness) -> None:
    """Whoever is in the workspace can type: a channel that can't be found is not looked for each time, since
    the same few calls a minute find a message whose answer was lost.
    """
    for app in harness.chat.apps:
        for settings in app.sinks.values():
            harness.slack.channels.pop(str(settings.channel).removeprefix("#"), None)
    harness.slack.channels["random"] = "C0RANDOM001"
    for _ in range(5):
        said = await ask(harness, "failures", channel="C0RANDOM001")
        assert said == "Please use this command in #netops, where the messages are"
    assert sum(method == "conversations.list" for method, _ in harness.slack.calls) <= 2


async def test_a_store_that_hangs(harness: ChatHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes in time, and says so."""
    monkeypatch.setattr(service, "COMMAND_TIMEOUT", 0.05)

    async def hang() -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(type(harness.store.ledger), "snapshots", lambda _self: hang())
    assert "can't read its store" in await ask(harness, "status")
    assert harness.counted("command", "failed") == 1
