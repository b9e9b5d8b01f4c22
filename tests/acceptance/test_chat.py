"""People act from Slack on a real bridge: by Socket Mode and by signed requests, and only who may."""

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession

from cmc_notify.simulator import OPEN, Row, SimulatedJob, Simulator
from cmc_notify.simulator.slack_messages import SlackMessage
from cmc_notify.simulator.slack_people import Ack, InteractiveSlack, Person, buttons
from cmc_notify.sinks.slack.buttons import ACKNOWLEDGE, CANCEL, SILENCE
from support.bridge_process import BridgeProcess, bridge
from support.command_line import written

ANNA, BERT = Person("U0ANNA", "anna"), Person("U0BERT", "bert")
WAYS = ("socket", "http")
WATCHED = ("jobs", "job_states", "events", "deliveries", "delivery_parts", "postings", "failures",
           "acknowledgements", "silences")  # fmt: skip
"""All that a press could change, but the audit."""


def config(folder: Path, sim: Simulator, slack: InteractiveSlack) -> dict[str, Any]:
    """Anna may do everything, and the on-call group may silence; the controller is looked at often."""
    return {
        "controllers": {
            "emea": {
                "url": sim.url,
                "first_run": "all",
                "poll": {"interval": "100ms", "idle_interval": "100ms", "settle": "500ms"},
            }
        },
        "sinks": {
            "chat": {
                "type": "slack",
                "token": slack.token,
                "channel": "#netops",
                "api_url": slack.api_url,
                "app_token": slack.app_token,
                "signing_secret": slack.signing_secret,
                "update_every": "100ms",
                "allow": {"cancel": [ANNA.id], "acknowledge": [ANNA.id], "silence": ["S0ONCALL"]},
            }
        },
        "routes": [{"sinks": ["chat"]}],
        "store": {"url": f"sqlite:///{folder}/store.db"},
    }


class TicketServer:
    """A channel before people, who press by one way or the other."""

    def __init__(self, process: BridgeProcess, sim: Simulator, slack: InteractiveSlack) -> None:
        self.process = process
        self.sim = sim
        self.slack = slack
        self.url = f"http://127.0.0.1:{process.port}/slack/chat/interactions"

    async def press(
        self, way: str, card: SlackMessage, action: str, person: Person, option: str | None = None
    ) -> None:
        """Press; Slack gets its answer in time."""
        url = self.url if way == "http" else None
        ack = await self.slack.press(card, action, person, option, url=url)
        assert ack.status == 200
        assert ack.seconds < 3

    async def running(self) -> tuple[SimulatedJob, SlackMessage]:
        """A job that runs and has failed somewhere, with its card."""
        rows = [Row("V2AB0001", 3, "Completed", "Fail", "rule 12"), Row("V2AB0002", 3, "Running")]
        job = self.sim.jobs.add(feature_ids=[3], rows=rows)
        job.start()
        await self.slack.wait(lambda _slack: {CANCEL, ACKNOWLEDGE, SILENCE} <= {*self.shown(job)}, seconds=30)
        await self.process.drained()
        return job, self.card(job)

    def card(self, job: SimulatedJob) -> SlackMessage:
        """The job's one message in the channel."""
        [found] = [each for each in self.slack.parents if f"job {job.id}" in each.text]
        return found

    def shown(self, job: SimulatedJob) -> list[str]:
        """What can be pressed beneath the job's message; nothing while there is none."""
        return [each for card in self.slack.parents if f"job {job.id}" in card.text for each in buttons(card)]

    def store(self) -> closing[sqlite3.Connection]:
        """The bridge's store, to be looked at."""
        return closing(sqlite3.connect(f"file:{self.process.folder}/store.db?mode=ro", uri=True))

    def state(self) -> object:
        """The controller's jobs, the store and the channel, as far as a press could change them."""
        with self.store() as store:
            tables = {table: sorted(map(repr, store.execute(f"SELECT * FROM {table}"))) for table in WATCHED}
        jobs = [(job.id, job.status, len(job.versions)) for job in self.sim.jobs]
        channel = [(each.ts, each.thread_ts, json.dumps(each.versions)) for each in self.slack.messages]
        return tables, jobs, channel

    def audited(self) -> list[tuple[str, str, str, str | None]]:
        """Way, action, outcome and who, the oldest first."""
        with closing(sqlite3.connect(f"file:{self.process.folder}/store.db?mode=ro", uri=True)) as store:
            rows = [
                json.loads(row) for (row,) in store.execute("SELECT document FROM actions ORDER BY at, id")
            ]
        return [(row["via"], row["action"], row["outcome"], row.get("who")) for row in rows]

    async def metrics(self) -> str:
        """What Prometheus gets."""
        url = f"http://127.0.0.1:{self.process.port}/metrics"
        async with ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    def canceled(self) -> int:
        """How often the controller was asked to cancel."""
        return sum(request.target.endswith("/cancel") for request in self.sim.requests)


@pytest.fixture
async def slack() -> Any:
    """A workspace with an on-call group."""
    async with InteractiveSlack() as server:
        server.groups["S0ONCALL"] = {ANNA.id}
        yield server


async def test_people_act_from_slack(
    tmp_path: Path, slack: InteractiveSlack, in_thread: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancel, acknowledge and silence by both ways, the controller's refusal, and the audit of it all."""
    async with Simulator("empty", auth=OPEN) as sim:
        setting = config(tmp_path, sim, slack)
        async with bridge(tmp_path, setting) as process:
            desk = TicketServer(process, sim, slack)
            await slack.sockets.wait_connected()
            for way in WAYS:
                await silenced(desk, way)
                job, card = await desk.running()
                await acknowledged(desk, way, card)
                await refused_by_the_controller(desk, way, job, card, monkeypatch)
                await canceled(desk, way, job, card)
            did = (("silence", "done"), ("acknowledge", "done"), ("cancel", "failed"), ("cancel", "done"))
            assert desk.audited() == [(way, *each, ANNA.id) for way in WAYS for each in did]
            file = str(written(tmp_path, setting))
            code, out, _ = await in_thread("actions", "--json", "--config", file)
            assert code == 0
            assert [(row["via"], row["action"], row["outcome"], row["who"]) for row in json.loads(out)] == [
                *reversed(desk.audited())
            ]
            said = await slack.command("failures", BERT)
            assert said.payload
            assert "rule 12" in json.dumps(said.payload)
            assert await process.stop() == 0
        for secret in (slack.token, slack.app_token, slack.signing_secret):
            assert secret not in str(process.log)


async def acknowledged(desk: TicketServer, way: str, card: SlackMessage) -> None:
    """The message shows who has it, in its place, without anything told anew."""
    thread = len(desk.slack.thread(card))
    await desk.press(way, card, ACKNOWLEDGE, ANNA)
    await desk.slack.wait(lambda _slack: "anna" in " ".join(card.texts))
    assert ACKNOWLEDGE not in buttons(card)
    await desk.process.drained()
    assert len(desk.slack.thread(card)) == thread


async def silenced(desk: TicketServer, way: str) -> None:
    """The message shows it, and what the job does next is told to nobody."""
    job, card = await desk.running()
    told = len(desk.slack.shown_to(ANNA))
    await desk.press(way, card, SILENCE, ANNA, "4h")
    assert f"job {job.id} is silent for 4 h" in (await desk.slack.wait_shown_to(ANNA, told + 1))[-1]
    await desk.slack.wait(lambda _slack: "Silenced:* anna, until" in " ".join(card.texts))
    await desk.process.polls(1)
    job.set_row("V2AB0002", 3, "Fail", "rule 13")
    await desk.process.polls(3)
    await desk.process.drained()
    assert "rule 13" not in str([reply.texts for reply in desk.slack.thread(card)])


async def canceled(desk: TicketServer, way: str, job: SimulatedJob, card: SlackMessage) -> None:
    """The controller is asked once, its answer is told in private and in the thread, the card moves on."""
    before, told = desk.canceled(), len(desk.slack.shown_to(ANNA))
    await desk.press(way, card, CANCEL, ANNA)
    answer = f"the controller responded: job {job.id} is Canceled"
    assert answer in (await desk.slack.wait_shown_to(ANNA, told + 1))[-1]
    assert job.status == "Canceled"
    assert desk.canceled() == before + 1
    await desk.slack.wait(lambda _slack: any(answer in reply.text for reply in desk.slack.thread(card)))
    await desk.slack.wait(lambda _slack: not buttons(card) or CANCEL not in buttons(card))
    assert "canceled" in card.text


async def refused_by_the_controller(
    desk: TicketServer, way: str, job: SimulatedJob, card: SlackMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are shown to the presser and in the thread, and the job goes on."""

    def refuse(job: SimulatedJob) -> None:
        raise ValueError(job.id)

    told = len(desk.slack.shown_to(ANNA))
    with monkeypatch.context() as patch:
        patch.setattr(SimulatedJob, "cancel", refuse)
        await desk.press(way, card, CANCEL, ANNA)
        words = f"Job {job.id} can't be canceled: it is InProgress"
        assert words in (await desk.slack.wait_shown_to(ANNA, told + 1))[-1]
        await desk.slack.wait(lambda _slack: any(words in reply.text for reply in desk.slack.thread(card)))
    assert job.status == "InProgress"


async def test_who_may_not_and_what_is_forged_change_nothing(tmp_path: Path, slack: InteractiveSlack) -> None:
    """Controller, store and channel are the same before and after, until the config lets them; each attempt
    is counted and written down.
    """
    async with (
        Simulator("empty", auth=OPEN) as sim,
        bridge(tmp_path, config(tmp_path, sim, slack)) as process,
    ):
        desk = TicketServer(process, sim, slack)
        await slack.sockets.wait_connected()
        _, card = await desk.running()
        await process.polls(1)
        before = desk.state()
        for way in WAYS:
            for action, option in ((CANCEL, None), (ACKNOWLEDGE, None), (SILENCE, "1h")):
                await desk.press(way, card, action, BERT, option)
        assert all("you may not" in text for text in await slack.wait_shown_to(BERT, 6))
        for ack in await forged(desk, card):
            assert ack.status == 401
        await process.polls(2)
        await process.drained()
        assert desk.state() == before
        assert desk.canceled() == 0
        assert slack.shown_to(ANNA) == []
        assert 'cmc_notify_chat_sockets{sink="chat"} 1.0' in await desk.metrics()
        assert 'outcome="forged",sink="chat"} 4.0' in await desk.metrics()
        outcomes = [(way, outcome, who) for way, _, outcome, who in desk.audited()]
        assert outcomes[:6] == [(way, "refused", BERT.id) for way in WAYS for _ in range(3)]
        assert outcomes[6:] == [("http", "forged", None)] * 4

        setting = config(tmp_path, sim, slack)
        setting["sinks"]["chat"]["allow"]["acknowledge"] = ["*"]
        process.configure(setting)
        os.kill(process.pid, signal.SIGHUP)
        await slack.sockets.wait_opened(2)
        await slack.sockets.wait_connected()
        await desk.press("socket", card, ACKNOWLEDGE, BERT)
        await slack.wait(lambda _slack: "bert" in " ".join(card.texts))
        assert await process.stop() == 0


async def forged(desk: TicketServer, card: SlackMessage) -> list[Ack]:
    """Presses of Anna's that Slack never sent: another secret, an old one, a changed body, none at all."""
    slack = desk.slack
    body = urlencode({"payload": json.dumps(slack.pressed(card, CANCEL, ANNA))})
    harmless = urlencode({"payload": json.dumps(slack.pressed(card, CANCEL, BERT))})
    return [
        await slack.post(desk.url, body, secret="guessed"),
        await slack.post(desk.url, body, at=time.time() - 301),
        await slack.post(desk.url, harmless, sent=body),
        await slack.post_raw(desk.url, body.encode(), {}),
    ]
