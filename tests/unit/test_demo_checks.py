"""The demo's judgement fails where a receiver lacks something: a check that can't fail is none."""

from collections import Counter
from typing import Any

from cmc_notify.demo.channel import Chat, Failed
from cmc_notify.demo.checks import AllReceived, summarize
from cmc_notify.ports import OutboxDepth
from cmc_notify.simulator import Simulator
from cmc_notify.simulator.slack_workspace import SlackWorkspace


def test_receivers_that_got_nothing_fail() -> None:
    """A whole night of which nobody heard is not passed, and what should have come is counted."""
    sim = Simulator("night-push", speed=0, appliances=12)
    sim.clock.run()
    sim.advance(3000)
    depths = [OutboxDepth("chat", 1, 0, 0, 1.0), OutboxDepth("tickets", 0, 2, 0, None)]
    summary = summarize(sim.history, sim.clock.start, [], depths, AllReceived([], [], []))
    assert not summary.passed
    failing = Counter(check.holds for check in summary.checks)[False]
    assert failing == 6, [check.text for check in summary.checks if check.holds]
    assert "each of the 8 ends of a job was mailed once" in [check.text for check in summary.checks]


def test_yesterdays_jobs_are_not_expected() -> None:
    """Jobs that ended before the scenario started must not be notified."""
    sim = Simulator("night-push", speed=0, appliances=12)
    sim.clock.run()
    depths = [OutboxDepth(name, 0, 0, 0, None) for name in ("chat", "mail", "tickets")]
    assert summarize(sim.history, sim.clock.start, [], depths, AllReceived([], [], [])).passed


def test_a_rerun_that_was_served_only_at_its_end_ends_once_more() -> None:
    """A quick demo's polls miss the time between two failures of one job; both are mailed all the same."""
    sim = Simulator("night-push", speed=0, appliances=12)
    sim.clock.run()
    sim.advance(3000)
    ends = [
        version
        for version in sim.history
        if version.document["job_status"] in ("Failed", "Success", "Canceled")
    ]
    depths = [OutboxDepth(name, 0, 0, 0, None) for name in ("chat", "mail", "tickets")]
    summary = summarize(ends, sim.clock.start, [], depths, AllReceived([], [], []))
    assert "each of the 8 ends of a job was mailed once" in [check.text for check in summary.checks]


def test_a_channel_is_checked_by_its_messages() -> None:
    """A job with two messages has none that can be trusted, and a text elsewhere is in nobody's thread."""
    slack = SlackWorkspace()
    for job, status in ((1, "Failed"), (2, "Success"), (2, "InProgress")):
        blocks = [section(f"*Status:* {status} · ▓▓")]
        post(slack, text=f"🔴 emea: push job {job} failed", blocks=blocks)
    thread = slack.parents[0].ts
    post(slack, text="job 1", blocks=[section("V2AB0001: no &lt;route&gt;")], thread_ts=thread)
    chat = Chat(slack.messages)
    assert chat.states == {1: "Failed"}
    assert chat.changes == 3
    assert chat.holds({Failed(1, "V2AB0001", 3): "no <route>"})
    assert not chat.holds({Failed(1, "V2AB0001", 3): "another reason"})
    assert not chat.holds({Failed(2, "V2AB0001", 3): "no <route>"})


def section(text: str) -> dict[str, Any]:
    """A section of mrkdwn."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def post(slack: SlackWorkspace, **message: Any) -> None:
    """Update a message as the bot does."""
    sent = {"channel": "netops", **message}
    answer, _, _ = slack.answer("chat.postMessage", sent, f"Bearer {slack.token}")
    assert answer["ok"]
