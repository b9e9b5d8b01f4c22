"""A whole night in a Slack channel: one message per job, whatever happens to bridge, connection and token."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.demo.channel import Chat, Failed
from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.slack import Fault, SlackServer
from cmc_notify.simulator.slack_messages import SlackMessage
from cmc_notify.simulator.slack_rules import refusal
from support.bridge_process import BridgeProcess, bridge

STEP = 4
"""Minutes of the night between two polls."""
LOST = Fault("drop", done=True)
"""Slack has done it, and nobody hears of that."""


def config(sim: Simulator, slack: SlackServer) -> dict[str, Any]:
    """Everything about jobs goes to the channel."""
    return {
        "controllers": {
            "emea": {
                "url": sim.url,
                "first_run": "2h",
                "poll": {"interval": "200ms", "idle_interval": "200ms", "settle": "2s"},
            }
        },
        "sinks": {
            "chat": {
                "type": "slack",
                "token": slack.token,
                "channel": "#netops",
                "api_url": slack.api_url,
                "update_every": "500ms",
                "retry": {"initial": "200ms", "max": "1s"},
            }
        },
        "routes": [{"match": {"event": ["job.*", "appliance.*"]}, "sinks": ["chat"]}],
    }


@pytest.mark.timeout(150)
async def test_a_night_has_one_message_per_job(tmp_path: Path) -> None:
    """With lost answers, Slack's limits, a bridge that is killed while a job runs, and a token that is
    revoked for a while, each job has one message that shows its end, its thread each failure, once.
    """
    async with (
        SlackServer(pace=True) as slack,
        Simulator("night-push", seed=7, speed=0, auth=OPEN, appliances=2400) as sim,
    ):
        slack.fail_next("chat.postMessage", LOST, None, None, LOST, None, LOST)
        slack.fail_next("chat.update", None, LOST, None, None, LOST)
        slack.fail_next("files.completeUploadExternal", LOST)
        setting = config(sim, slack)
        async with bridge(tmp_path, setting) as process:
            await go_on(sim, process, minutes=8)
            await slack.wait(lambda _: moved_on(slack) is not None, seconds=40)
            await process.kill()
        card = moved_on(slack)
        assert card is not None
        before = len(card.versions)
        sim.advance(3 * 60)
        async with bridge(tmp_path, setting) as process:
            await slack.wait(lambda _: len(card.versions) > before, seconds=40)
            assert "Status:* InProgress" in "\n".join(card.texts)
            slack.revoked = True
            asked = len(slack.calls)
            await go_on(sim, process, minutes=9)
            await slack.wait(lambda _: len(slack.calls) > asked, seconds=40)
            slack.revoked = False
            await go_on(sim, process, minutes=23)
            assert sim.finished
            await process.polls(3)
            await process.drained(within=60)
            assert await process.stop() == 0
        assert_one_each(slack)
        chat = Chat(slack.messages)
        assert chat.states == ends(sim)
        assert chat.holds(failures(sim))
        assert any(message.files for message in slack.messages)


async def go_on(sim: Simulator, process: BridgeProcess, *, minutes: int) -> None:
    """So much of the night, seen by the bridge every few minutes."""
    for begun in range(0, minutes, STEP):
        sim.advance(min(STEP, minutes - begun) * 60)
        await process.polls(2)


def moved_on(slack: SlackServer) -> SlackMessage | None:
    """A message of a running job that was brought up to date, and has something in its thread."""
    found = (
        message
        for message in slack.parents
        if len(message.versions) > 2
        and "Status:* InProgress" in "\n".join(message.texts)
        and slack.thread(message)
    )
    return next(found, None)


def assert_one_each(slack: SlackServer) -> None:
    """No part of any delivery stands there twice, every fault was met, and Slack would take each version."""
    posted = [message for message in slack.messages if not message.files]
    parts = Counter(str(message.raw["metadata"]["event_payload"]) for message in posted)
    titles = Counter(file.title for file in slack.files if file.channel)
    assert [part for part, number in (parts + titles).items() if number > 1] == []
    assert {name: list(waiting) for name, waiting in slack._faults.items() if any(waiting)} == {}
    assert [raw for message in posted for raw in message.versions if refusal(raw)] == []


def ends(sim: Simulator) -> dict[int, str]:
    """The last status of each job of the night, as the controller had it."""
    night = (version.document for version in sim.history if version.time > sim.clock.start)
    return {document["id"]: document["job_status"] for document in night}


def failures(sim: Simulator) -> dict[Failed, str]:
    """What failed in any state that the controller served, or left at the end, with its text."""
    served = {version for request in sim.served for version in request.versions}
    last = {version.key: version for version in sim.history}
    return {
        Failed(version.document["id"], row["serialnum"], row["feature_id"]): row["error_text"]
        for version in sim.history
        if (version.key, version.number) in served or last[version.key] is version
        for row in version.document["detailed_status"]
        if row.get("result") == "Fail" and version.time > sim.clock.start
    }
