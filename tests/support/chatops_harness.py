"""People in a Slack-like workspace before a ChatOps over a real store; controllers answer as scripted."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from msgspec.structs import replace

from cmc_notify.chatops import ChatOps, CommandContext
from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery
from cmc_notify.core.events import SEVERITY, Event, EventType, job_info
from cmc_notify.core.model import Job, JobState, Names, Outcome, Row
from cmc_notify.ports import Clock, ControllerMeta, Message, PollCommit, Posting, SavedJob
from cmc_notify.simulator.slack_people import InteractiveSlack, Person
from cmc_notify.simulator.slack_workspace import SlackMessage
from cmc_notify.sinks.slack import SlackSettings
from cmc_notify.sinks.slack.buttons import buttons
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics
from support.new_store import new_store

ANNA, BERT = Person("U0ANNA", "Anna <!channel>"), Person("U0BERT", "bert")
NOW = 1_795_425_600.0
JOB = Job(
    id=42,
    status="InProgress",
    creation_time=1_795_420_000,
    rows=(Row("V2AB0001", 3, Outcome.FAILED, "no route"), Row("V2AB0002", 3, Outcome.RUNNING)),
)
UID = "42-1795420000"
SUBJECT = f"job:emea:{UID}"


class ScriptedController:
    """Shows ``job``; ``cancels`` is what it does when asked to cancel."""

    def __init__(self) -> None:
        self.job = JOB
        self.cancels: Callable[[], Any] = lambda: replace(JOB, status="Canceled")
        self.asked = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.called = asyncio.Event()

    async def get_job(self, job_id: int) -> Any:
        """The job, already decoded."""
        del job_id
        return self

    @property
    def digest(self) -> bytes:
        """Nobody asks."""
        return b""

    def decode(self) -> Job:
        """The job."""
        return self.job

    async def cancel_job(self, job_id: int) -> Job:
        """Answer as scripted, once ``answering``."""
        assert job_id == self.job.id
        self.asked += 1
        self.called.set()
        await self.answering.wait()
        result: Job = self.cancels()
        self.job = result
        return result


class ChatHarness:
    """One Slack sink ``chat`` with one message about job 42, and whoever presses its buttons."""

    def __init__(self, slack: InteractiveSlack, store: Store, settings: SlackSettings, clock: Clock) -> None:
        self.slack = slack
        self.clock = clock
        self.store = store
        self.settings = settings
        self.controller = ScriptedController()
        self.metrics = Metrics()
        self.woken = 0
        self.troubles: dict[str, str] = {}
        self.chat = self.another(settings)
        self.message = SlackMessage("C0NETOPS001", "1795425600.000001", {})

    def another(self, settings: SlackSettings | None = None) -> ChatOps:
        """Another replica over the same store."""
        return ChatOps(
            {"chat": settings or self.settings},
            {"emea": self.controller},
            CommandContext(("emea", "apac"), lambda: self.troubles, "https://bridge.example.net/"),
            actions=self.store.chat_actions,
            ledger=self.store.ledger,
            silences=self.store.silences,
            on_message_due=self._on_message_due,
            metrics=self.metrics,
            clock=self.clock,
        )

    async def post(self) -> None:
        """Tell the job, and let its message stand in the channel."""
        state = JobState(uid=UID, job=JOB)
        kind = EventType.APPLIANCE_FAILED
        event = Event(
            id="e1",
            type=kind,
            time="2026-11-23T09:20:00Z",
            severity=SEVERITY[kind],
            controller="emea",
            job=job_info(JOB, Names(), previous_status=None),
        )
        delivery = NewDelivery(
            id="d1",
            event_id="e1",
            sink="chat",
            subject=SUBJECT,
            ordering_key=SUBJECT,
            due_at=NOW,
            deadline_at=NOW + 3600,
        )
        meta = ControllerMeta(first_run_done=True, last_poll_at=NOW)
        await self.store.poll.commit_poll(
            PollCommit(
                controller="emea",
                expected_version=0,
                meta=meta,
                jobs=(SavedJob(state, bytes(16)),),
                events=(event,),
                deliveries=(delivery,),
                event_uids={"e1": (UID, 1)},
            )
        )
        await self.store.outbox.claim("chat", owner="me", limit=1, lease=60)
        reference = f"{self.message.channel}:{self.message.ts}"
        await self.store.outbox.record_part("d1", "card", reference, posting=Posting(reference=reference))
        await self.store.outbox.record("d1", owner="me", result=AttemptResult(state=DeliveryState.SENT))
        shown = Message(key="d1", event=event, subject=SUBJECT)
        everybody = self.settings.model_copy(
            update={"allow": type(self.settings.allow)(cancel=("*",), acknowledge=("*",), silence=("*",))}
        )
        self.message.raw = {"text": "job 42", "blocks": buttons(shown, everybody)}
        self.slack.messages.append(self.message)

    async def outcomes(self) -> list[tuple[str, str, str]]:
        """The audit, sorted: action, outcome, who."""
        found = await self.store.chat_actions.actions(limit=1000)
        return sorted((each.action, each.outcome.value, each.who or "") for each in found)

    async def due(self) -> bool:
        """Whether the message is due again, to show something."""
        row = await self.store.ledger.delivery("d1")
        assert row
        return row.delivery.state is DeliveryState.PENDING

    def counted(self, action: str, outcome: str) -> float:
        """What the metric says."""
        labels = {"sink": "chat", "action": action, "outcome": outcome}
        return self.metrics.registry.get_sample_value("cmc_notify_chat_actions_total", labels) or 0.0

    def replies(self) -> list[str]:
        """The texts in the message's thread."""
        return [reply.text for reply in self.slack.thread(self.message)]

    def _on_message_due(self) -> None:
        self.woken += 1


@asynccontextmanager
async def chat_harness(
    folder: Path, *, clock: Clock = lambda: NOW, **given: Any
) -> AsyncIterator[ChatHarness]:
    """A harness with a running ChatOps; ``given`` are settings of the sink."""
    # A TLS context takes 50 ms to make, several times for each test, and nothing here speaks TLS.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with InteractiveSlack() as slack:
        with ExitStack() as patched:
            for module in ("cmc_notify.sinks.slack.client", "cmc_notify.chatops.socket_mode"):
                patched.enter_context(mock.patch(f"{module}.client_context", return_value=context))
            async with _running(slack, folder, clock, given) as harness:
                yield harness


@asynccontextmanager
async def _running(
    slack: InteractiveSlack, folder: Path, clock: Clock, given: dict[str, Any]
) -> AsyncIterator[ChatHarness]:
    store = await new_store(folder / "store.db", clock=lambda: NOW)
    document = {
        "token": slack.token,
        "channel": "#netops",
        "api_url": slack.api_url,
        "app_token": slack.app_token,
        "signing_secret": slack.signing_secret,
        "allow": {"cancel": [ANNA.id], "acknowledge": [ANNA.id], "silence": [ANNA.id]},
    }
    harness = ChatHarness(slack, store, SlackSettings.model_validate(document | given), clock)
    try:
        await harness.post()
        harness.chat.start()
        await slack.sockets.wait_connected()
        yield harness
    finally:
        await harness.chat.stop(5)
        await store.close()
