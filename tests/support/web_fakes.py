"""A web application's parts, answered from memory, and a reader of its pages."""

import re
from collections.abc import Collection, Mapping, Sequence
from html.parser import HTMLParser

from aiohttp import web
from aiohttp.test_utils import TestClient
from typing_extensions import override

from cmc_notify.core.access import Session
from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import (
    SEVERITY,
    Event,
    EventType,
    Failure,
    Recovery,
    event_id,
    job_info,
    rfc3339,
)
from cmc_notify.core.model import Feature, Job, JobState, Names, Outcome, Row, TrackedFailure
from cmc_notify.core.silences import Silence
from cmc_notify.errors import StoreUnavailable
from cmc_notify.ports import (
    Acknowledgement,
    ActionOutcome,
    ChatAction,
    ControllerMeta,
    Delivery,
    DeliveryFilter,
    Ledger,
    LedgerRow,
    OutboxDepth,
    Sessions,
    SignInCode,
    Silences,
    Ticket,
    TicketFilter,
    TicketRow,
)
from cmc_notify.web import LiveController, LiveSink

NOW = 1_795_430_000.0
HOSTILE = (
    '</pre><script>document.title="owned"</script><img src=x onerror=alert(1)>"\'&amp; {{ 7*7 }} <!channel>'
    "\nline two\r\nline three\x1b[2J\u202eevil\u2066\x85\x7f\x00 end"
)
NAMES = Names({3: Feature(3, "qos", "QoS <b>")}, {"V2AB0001": "paris-edge-1"})
JOB = Job(
    id=42,
    status="Failed",
    operation="push",
    creation_time=int(NOW) - 900,
    push_time=int(NOW) - 800,
    completion_time=int(NOW) - 700,
    error_text=f"pre-push: {HOSTILE}",
    feature_ids=(3,),
    site_ids=(7,),
    rows=(Row("V2AB0001", 3, Outcome.FAILED), Row("V2AB0002", 3, Outcome.SUCCEEDED)),
)


def make_event(kind: EventType = EventType.JOB_FAILED, failures: Sequence[Failure] = ()) -> Event:
    """An event of any type with everything that its type can hold."""
    about_job = kind.startswith(("job.", "appliance."))
    return Event(
        id=event_id(NOW, 1, kind),
        type=kind,
        time=rfc3339(NOW) or "",
        severity=SEVERITY[kind],
        controller="emea",
        reason=None if about_job else f"refused: {HOSTILE}",
        since=None if about_job else rfc3339(NOW - 60),
        sink="chat" if kind.startswith("sink.") else None,
        job=job_info(JOB, NAMES, previous_status="InProgress") if about_job else None,
        failures=tuple(failures),
        recoveries=(Recovery("V2AB0009", None, 3, "QoS", "2026-11-22T08:00:00Z", 40),)
        if kind is EventType.APPLIANCE_RECOVERED
        else (),
    )


FAILED = make_event(
    failures=[
        Failure("V2AB0001", "paris-edge-1", 3, "QoS <b>", HOSTILE, new=True),
        Failure("V2AB0002", None, 3, "QoS <b>", HOSTILE, new=False),
        Failure(None, None, None, None, None, new=True),
    ]
)


class FakeLedger(Ledger):
    """A store in memory that only answers questions; ``broken`` makes every answer fail."""

    def __init__(self) -> None:
        self.broken = False
        self.stored = {FAILED.id: FAILED}
        self.asked: list[object] = []
        self.incident = TrackedFailure(
            id="i1", controller="emea", serial="V2AB0001", feature_id=3, feature="QoS <b>",
            appliance="paris-edge-1", error_text=HOSTILE, opened_at=NOW - 90, opened_event=FAILED.id,
            job_uid="u1", job_id=42, last_job_uid="u1", failed_order=JOB.order, notified={"chat": ("d1",)},
        )  # fmt: skip
        self.ticket_rows = [
            TicketRow(Ticket("snow", "job:emea:u1", "INC<b>7", "https://snow.example/7?a=1&b=2", True),
                      "emea", 42, NOW - 20),
            TicketRow(Ticket("evil", "failure:emea:V2AB0001:3", HOSTILE, "javascript:alert(1)", True),
                      "emea", 42, NOW - 20),
            TicketRow(Ticket("old", "job:emea:u1", "CLOSED-1", "https://old.example/", False),
                      "emea", 42, NOW - 20),
        ]  # fmt: skip
        self.delivery_rows = [
            LedgerRow(
                Delivery(
                    id="d1", key="d1", event_id=FAILED.id, sink="chat", subject="emea/42",
                    ordering_key="emea/42", state=DeliveryState.DEAD, shown=None, attempts=3,
                    created_at=NOW - 60, due_at=NOW, deadline_at=NOW + 60, last_error=f"500: {HOSTILE}",
                ),
                "job.failed", FAILED.time, "emea", 42,
            )
        ]  # fmt: skip

    def _answer(self, question: object) -> None:
        self.asked.append(question)
        if self.broken:
            raise StoreUnavailable("disk full: /var/lib/cmc-notify.db")

    @override
    async def snapshots(self) -> Mapping[str, ControllerMeta]:
        self._answer("snapshots")
        down = ControllerMeta(
            last_poll_at=NOW - 300, last_error=f"timed out {HOSTILE}", failed_polls=4,
            unreachable_since=NOW - 200, malformed=(f"job 7: {HOSTILE}",), unknown_statuses=("Odd<i>",),
        )  # fmt: skip
        shaky = ControllerMeta(last_poll_at=NOW - 60, failed_polls=1, failing_since=NOW - 30)
        return {"emea": down, "retired": ControllerMeta(last_poll_at=NOW - 9e6), "shaky": shaky}

    @override
    async def jobs(
        self, *, controller: str | None = None, open_only: bool = False, limit: int = 50
    ) -> Sequence[tuple[str, JobState]]:
        self._answer(("jobs", controller, open_only, limit))
        return [("emea", JobState(uid="u1", job=JOB, settle_until=NOW + 5))]

    @override
    async def failures(self, *, controller: str | None = None, limit: int = 1000) -> Sequence[TrackedFailure]:
        self._answer(("failures", controller, limit))
        return [self.incident]

    @override
    async def count_failures(self) -> Mapping[str, int]:
        self._answer("count_failures")
        return {"emea": 1201}

    @override
    async def close_failure(self, incident_id: str, *, now: float) -> bool:
        raise AssertionError("pages only read")

    @override
    async def deliveries(self, wanted: DeliveryFilter) -> Sequence[LedgerRow]:
        self._answer(wanted)
        return self.delivery_rows

    @override
    async def delivery(self, delivery_id: str) -> LedgerRow | None:
        self._answer(delivery_id)
        return self.delivery_rows[0]

    @override
    async def retry(
        self, delivery_ids: Collection[str] | None, *, now: float, again: bool = False
    ) -> Sequence[str]:
        raise AssertionError("pages only read")

    @override
    async def event(self, event_id: str) -> Event | None:
        self._answer(("event", event_id))
        return self.stored.get(event_id)

    @override
    async def events(
        self, *, limit: int = 50, controller: str | None = None, job_id: int | None = None
    ) -> Sequence[Event]:
        self._answer(("events", limit, controller, job_id))
        return list(self.stored.values())

    @override
    async def tickets(self, wanted: TicketFilter) -> Sequence[TicketRow]:
        self._answer(wanted)
        return self.ticket_rows

    @override
    async def acknowledgements(self, subjects: Collection[str]) -> Mapping[str, Acknowledgement]:
        self._answer(("acknowledgements", frozenset(subjects)))
        return {"job:emea:u1": Acknowledgement("Zoë <i>", NOW - 30)}

    @override
    async def depths(self) -> Sequence[OutboxDepth]:
        self._answer("depths")
        return [OutboxDepth("chat", 2, 30, 1, NOW - 50), OutboxDepth("", 0, 0, 0, None)]

    @override
    async def secret(self, name: str) -> bytes:
        raise AssertionError("pages only read")

    @override
    async def ping(self) -> None:
        self._answer("ping")


class FakeSilences(Silences):
    """Two silences; nothing can be changed, which other tests do on a real store."""

    def __init__(self) -> None:
        mine = Silence(
            id="s1", serials=("V2AB0001",), starts_at=NOW - 60, ends_at=NOW + 3 * 3600 + 720,
            created_by="Zoë <b>", comment=HOSTILE, created_at=NOW - 60,
        )  # fmt: skip
        later = Silence(
            id="s2", controllers=("apac",), starts_at=NOW + 60, ends_at=NOW + 120, created_by="ops",
            created_at=NOW,
        )  # fmt: skip
        self.kept = [mine, later]

    @override
    async def add(self, silence: Silence) -> None:
        raise AssertionError("pages only read")

    @override
    async def expire(self, silence_id: str, *, now: float) -> bool:
        raise AssertionError("pages only read")

    @override
    async def list_silences(self, *, now: float, expired: bool = False) -> Sequence[Silence]:
        return self.kept

    @override
    async def active(self, *, now: float, controller: str | None = None) -> Sequence[Silence]:
        return self.kept[:1]


class FakeStatus:
    """A process whose state the test sets."""

    def __init__(self) -> None:
        self.stopping = False
        self.tried = True

    def controllers(self) -> Sequence[LiveController]:
        """Two configured controllers, the second never polled."""
        return [
            LiveController(name="emea", tried=True, next_poll_at=NOW + 15),
            LiveController(name="apac", tried=self.tried),
        ]

    def sinks(self) -> Sequence[LiveSink]:
        """Three configured sinks, one blocked, one throttled."""
        return [
            LiveSink(name="chat", type="slack"),
            LiveSink(name="mail", type="email", blocked="535 refused <i>"),
            LiveSink(name="hook", type="webhook", throttled="HTTP 429 <b>"),
        ]


class FakeActions:
    """What people did from chat: one thing."""

    async def actions(self, *, limit: int = 50) -> Sequence[ChatAction]:
        """One that was refused."""
        del limit
        return [
            ChatAction(
                id="a1",
                at=NOW,
                sink="chat",
                via="socket",
                action="cancel",
                outcome=ActionOutcome.REFUSED,
                who="U0BERT",
                name="<b>Bert",
                subject="job:emea:42-1",
                answer="not allowed",
            )
        ]

    async def begin(self, action: ChatAction) -> bool:
        """Recorded, and forgotten."""
        return action.outcome is ActionOutcome.REFUSED

    async def finish(
        self, action_id: str, outcome: ActionOutcome, answer: str | None, *, subject: str | None = None
    ) -> None:
        """Not called: nothing changes here."""
        raise AssertionError(action_id, outcome, answer, subject)


class FakeSessions(Sessions):
    """Sessions in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Session] = {}
        self.codes: dict[str, SignInCode] = {}

    @override
    async def begin(self, session: Session, *, now: float) -> None:
        self.kept[session.id] = session

    @override
    async def find(self, session_id: str) -> Session | None:
        return self.kept.get(session_id)

    @override
    async def list_sessions(self, *, now: float) -> Sequence[Session]:
        return [each for each in self.kept.values() if each.ends_at > now]

    @override
    async def end(self, ids: Collection[str]) -> Sequence[str]:
        return [each for each in ids if self.kept.pop(each, None)]

    @override
    async def end_all_but(self, names: Collection[str]) -> int:
        return len(await self.end([each.id for each in self.kept.values() if each.name not in names]))

    @override
    async def add_code(self, code: SignInCode) -> None:
        self.codes[code.id] = code

    @override
    async def redeem(self, code_id: str, *, now: float) -> SignInCode | None:
        return self.codes.pop(code_id, None)


Client = TestClient[web.Request, web.Application]


class Page(HTMLParser):
    """A page's tags, and its text as a reader sees it."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._in_style = False
        self.feed(source)
        self.close()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag; the style is no text."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._in_style = tag == "style"

    @override
    def handle_endtag(self, tag: str) -> None:
        """Leave the style."""
        self._in_style = False

    @override
    def handle_data(self, data: str) -> None:
        """Collect the text."""
        if not self._in_style:
            self.text += data


def assert_harmless(page: Page, source: str) -> None:
    """No text became a tag, an event handler, or an unseen control."""
    assert not page.tags & {"script", "img", "iframe", "i", "object", "link", "form"}
    assert not {name for name in page.attributes if name.startswith("on")} | page.attributes & {
        "src",
        "style",
    }
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", source)
