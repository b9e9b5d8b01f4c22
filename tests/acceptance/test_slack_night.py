"""A whole night in a Slack channel: one message per job, whatever happens to bridge, connection and token."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bridge_process import bridge

from cmc_notify.demo.channel import Chat, Failed
from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.slack import Fault, SlackServer
from cmc_notify.simulator.slack_messages import SlackMessage
from cmc_notify.simulator.slack_rules import refusal

SPEED = 120
LOST = Fault("drop", done=True)
"""Slack has done it, and nobody hears of that."""


def config(sim: Simulator, slack: SlackServer) -> dict[str, Any]:
    """Everything about jobs goes to the channel."""
    return {
        "controllers": {
            "emea": {
                "url": sim.url,
                "first_run": "2h",
                "poll": {"interval": "700ms", "idle_interval": "700ms", "settle": "2s"},
            }
        },
        "sinks": {
            "chat": {
                "type": "slack",
                "token": slack.token,
                "channel": "#netops",
                "api_url": slack.api_url,
                "update_every": "1s",
                "retry": {"initial": "200ms", "max": "1s"},
            }
        },
        "routes": [{"match": {"event": ["job.*", "appliance.*"]}, "sinks": ["chat"]}],
    }


@pytest.mark.timeout(120)
async def test_a_night_has_one_message_per_job(tmp_path: Path) -> None:
    """With lost answers, a bridge that is killed while a job runs, and a token that is revoked for a while,
    each job has one message that shows its end, and each failure stands once in its thread.
    """
    async with (
        SlackServer() as slack,
        Simulator("night-push", seed=7, speed=SPEED, auth=OPEN, appliances=2400) as sim,
    ):
        slack.fail_next("chat.postMessage", LOST, None, None, LOST, None, LOST)
        slack.fail_next("chat.update", None, LOST, None, None, LOST)
        slack.fail_next("files.completeUploadExternal", LOST)
        setting = config(sim, slack)
        async with bridge(tmp_path, setting) as process:
            await slack.wait(lambda _: moved_on(slack) is not None, seconds=40)
            await process.kill()
        card = moved_on(slack)
        assert card is not None
        before = len(card.versions)
        async with bridge(tmp_path, setting) as process:
            await slack.wait(lambda _: len(card.versions) > before, seconds=40)
            slack.revoked = True
            asked = len(slack.calls)
            await slack.wait(lambda _: len(slack.calls) > asked, seconds=40)
            slack.revoked = False
            await sim.wait_finished()
            await process.polls(3)
            await process.drained(within=60)
            assert await process.stop() == 0
        assert_one_each(slack)
        chat = Chat(slack.messages)
        assert chat.states == ends(sim)
        assert len(card.versions) > before + 1
        assert chat.holds(failures(sim))
        assert sum(bool(message.files) for message in slack.messages) > 0


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
    served = {look for request in sim.served for look in request.looks}
    last = {version.key: version for version in sim.history}
    return {
        Failed(version.document["id"], row["serialnum"], row["feature_id"]): row["error_text"]
        for version in sim.history
        if (version.key, version.number) in served or last[version.key] is version
        for row in version.document["detailed_status"]
        if row.get("result") == "Fail" and version.time > sim.clock.start
    }
