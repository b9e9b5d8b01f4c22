"""The pages, the JSON and the health answers of the bridge, over a real socket."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from typing_extensions import override

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import (
    SEVERITY,
    Event,
    EventType,
    Failure,
    Recovery,
    encode,
    event_id,
    job_info,
    rfc3339,
)
from cmc_notify.core.links import Links
from cmc_notify.core.model import Feature, Job, JobState, Names, Outcome, Row, TrackedFailure
from cmc_notify.core.silences import Silence
from cmc_notify.core.text import visible
from cmc_notify.errors import CmcNotifyError, StoreUnavailable
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
    Silences,
    Ticket,
    TicketFilter,
    TicketRow,
)
from cmc_notify.telemetry import Metrics
from cmc_notify.web import LiveController, LiveSink, WebServer, create_app

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


Client = TestClient[web.Request, web.Application]


@pytest.fixture
def ledger() -> FakeLedger:
    """The store behind the pages."""
    return FakeLedger()


@pytest.fixture
def status() -> FakeStatus:
    """The process behind the pages."""
    return FakeStatus()


@pytest.fixture
def app(ledger: FakeLedger, status: FakeStatus) -> web.Application:
    """The application on loopback, without a token."""
    return create_app(
        ledger=ledger,
        silences=FakeSilences(),
        status=status,
        metrics=Metrics(),
        links=Links(b"k" * 32, None),
        token=lambda: None,
        listen_host="127.0.0.1",
        actions=FakeActions(),
        clock=lambda: NOW,
    )


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[Client]:
    """A client of the application on a real socket."""
    async with TestClient(TestServer(app)) as found:
        yield found


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


async def test_the_event_page_shows_everything_and_runs_nothing(client: Client) -> None:
    """Every text of the event stands on its page whole, as text, the pre-push error in a place of its own."""
    answer = await client.get(f"/events/{FAILED.id}")
    assert answer.status == 200
    source = await answer.text()
    page = Page(source)
    assert_harmless(page, source)
    assert visible(HOSTILE) in page.text
    before_push = page.text.partition("Failed before the push reached any appliance")[2]
    assert before_push.lstrip().startswith("pre-push: </pre><script>")
    for shown in ("Push job 42 failed", "3 failed, 2 of them new", "paris-edge-1", "(V2AB0001)", "V2AB0002"):
        assert shown in page.text
    for shown in ("QoS <b>", "unnamed appliance", "no error text", "2026-11-23 10:33:20 UTC"):
        assert shown in page.text
    assert page.text.count(visible(HOSTILE)) == 2, "one group for equal errors, and the pre-push error"


@pytest.mark.parametrize("kind", list(EventType))
async def test_every_type_of_event_has_a_page(client: Client, ledger: FakeLedger, kind: EventType) -> None:
    """Whatever a message links to can be read."""
    event = make_event(kind)
    ledger.stored[event.id] = event
    answer = await client.get(f"/events/{event.id}")
    assert answer.status == 200
    source = await answer.text()
    assert_harmless(Page(source), source)
    assert source.rstrip().endswith("</html>")
    if kind is EventType.APPLIANCE_RECOVERED:
        assert "V2AB0009" in source


async def test_ten_thousand_different_failures_arrive_complete(client: Client, ledger: FakeLedger) -> None:
    """The page of a huge event holds every text, and the bridge answers others while it is written."""
    failures = [
        Failure(f"V{n:06}", f"edge-{n}", 3, "QoS", f"error {n:05} {'<&> ' * 100}", new=True)
        for n in range(10_000)
    ]
    event = make_event(EventType.APPLIANCE_FAILED, failures)
    ledger.stored[event.id] = event
    began = time.monotonic()
    big = asyncio.create_task(_read(client, f"/events/{event.id}"))
    slowest = 0.0
    while not big.done():
        asked = time.monotonic()
        assert (await client.get("/healthz")).status == 200
        slowest = max(slowest, time.monotonic() - asked)
    source = await big
    assert set(re.findall(r"error (\d{5}) ", source)) == {f"{n:05}" for n in range(10_000)}
    assert source.count("&lt;&amp;&gt; ") == 1_000_000
    assert time.monotonic() - began < 20
    assert slowest < 2


async def _read(client: Client, path: str) -> str:
    answer = await client.get(path)
    return await answer.text()


async def test_an_unknown_event_is_told_in_words(client: Client) -> None:
    """A link that outlived its event says so, in text or, below the API, in JSON."""
    answer = await client.get("/events/%3Cscript%3E")
    assert answer.status == 404
    text = await answer.text()
    assert "no such event" in text
    assert "script" not in text
    answer = await client.get("/api/v1/events/none")
    assert answer.status == 404
    assert "no such event" in (await answer.json())["error"]


async def test_head_gives_headers_only(app: web.Application) -> None:
    """A link preview may ask for the headers; not one byte of a body follows them."""
    async with TestServer(app) as server:
        for path in ("/", f"/events/{FAILED.id}"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            headers = "Host: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n"
            writer.write(f"HEAD {path} HTTP/1.1\r\n{headers}\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == b""


async def test_a_page_that_breaks_off_is_never_taken_for_whole(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing fails in the middle, the reader gets an error instead of a page that ends early."""

    def break_off(*_: object, **__: object) -> Iterator[bytes]:
        yield b"<p>the beginning</p>" * 10_000
        raise RuntimeError("internal detail")

    monkeypatch.setattr("cmc_notify.web.page_templates.Templates.render", break_off)
    answer = await client.get(f"/events/{FAILED.id}")
    with pytest.raises(ClientPayloadError):
        await asyncio.wait_for(answer.read(), 10)


async def test_the_first_page_shows_the_whole_bridge(client: Client) -> None:
    """Controllers, jobs, failures, deliveries, what could not be read: all there, all harmless."""
    answer = await client.get("/")
    assert answer.status == 200
    source = await answer.text()
    page = Page(source)
    assert_harmless(page, source)
    for shown in (
        "emea",
        "unreachable",
        "apac",
        "not polled yet",
        "retired",
        "not configured here",
        "5 minutes ago",
    ):
        assert shown in page.text
    for shown in (
        "push 42",
        "awaiting details",
        "1 failed",
        "paris-edge-1",
        "1201",
        "blocked",
        "535 refused <i>",
        "throttled",
        "HTTP 429 <b>",
    ):
        assert shown in page.text
    for shown in ("job.failed", "dead", "after 3 attempts", "Odd<i>", visible(f"job 7: {HOSTILE}")):
        assert shown in page.text
    assert f'href="events/{FAILED.id}"' in source
    assert re.search(r"polls fail</span>\s*since <time[^>]*>2026-11-23 10:32:50 UTC", source)
    assert source.count(">ok<") == 2  # a controller that answered, a sink that nothing holds


async def test_pages_show_tickets_silences_and_who_has_taken_what(client: Client) -> None:
    """On the first page and on the event's; an address that is not http(s) is never a link."""
    for path in ("/", f"/events/{FAILED.id}"):
        source = await (await client.get(path)).text()
        page = Page(source)
        assert_harmless(page, source)
        assert 'href="https://snow.example/7?a=1&amp;b=2"' in source
        assert "javascript:" not in source
        for shown in ("INC<b>7", "acknowledged by Zoë <i>", "CLOSED-1 closed"):
            assert shown in page.text
    source = await (await client.get("/")).text()
    page = Page(source)
    for shown in ("serial=V2AB0001", "3 h 12 min left", "Zoë <b>", "controller=apac", "starts in 1 min"):
        assert shown in page.text
    failures = page.text.partition("Open failures 1201")[2].partition("Open tickets")[0]
    assert "silenced" in failures
    assert "nobody was notified" not in failures


async def test_a_silenced_event_says_so_on_its_page(client: Client, ledger: FakeLedger) -> None:
    """Nobody was told, and by whose wish."""
    silenced = {"sink": "", "state": DeliveryState.SILENCED, "last_error": f"silence s1 by ops: {HOSTILE}"}
    row = ledger.delivery_rows[0]
    delivery = msgspec.structs.replace(row.delivery, **silenced)
    ledger.delivery_rows = [msgspec.structs.replace(row, delivery=delivery)]
    unrouted = msgspec.structs.replace(delivery, state=DeliveryState.UNROUTED, last_error=None)
    recovered = msgspec.structs.replace(row, delivery=unrouted, event_type="appliance.recovered")
    ledger.delivery_rows += [recovered, msgspec.structs.replace(row, delivery=unrouted)]
    ledger.incident = msgspec.structs.replace(ledger.incident, notified={})
    page = Page(await (await client.get(f"/events/{FAILED.id}")).text())
    assert f"Nobody was notified: silence s1 by ops: {visible(HOSTILE)}" in page.text
    first = Page(await (await client.get("/")).text()).text
    for why in ("(nobody was notified)", "nobody was notified of the failure", "no route matched"):
        assert why in first


async def test_pages_carry_a_policy_without_scripts(client: Client) -> None:
    """The browser is told to run nothing, load nothing, frame nothing, keep nothing."""
    for path in ("/", f"/events/{FAILED.id}"):
        headers = (await client.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


async def test_the_api_answers_as_documented(client: Client) -> None:
    """Each read gives JSON with UTC times; an event is the event document itself."""
    read = {name: await (await client.get(f"/api/v1/{name}")).json() for name in
            ("status", "jobs", "failures", "deliveries", "events")}  # fmt: skip
    assert [each["name"] for each in read["status"]["controllers"]] == ["emea", "apac", "retired", "shaky"]
    assert read["status"]["controllers"][3]["failing_since"] == "2026-11-23T10:32:50Z"
    assert read["status"]["controllers"][0]["state"] == "unreachable"
    assert read["status"]["controllers"][0]["last_poll"] == "2026-11-23T10:28:20Z"
    assert read["status"]["ready"] is True
    sinks = read["status"]["sinks"]
    assert [(each["name"], each["pending"], each["blocked"], each["throttled"]) for each in sinks] == [
        ("chat", 2, None, None),
        ("mail", 0, "535 refused <i>", None),
        ("hook", 0, None, "HTTP 429 <b>"),
    ]
    assert read["jobs"]["jobs"][0]["counts"]["failed"] == 1
    assert read["failures"]["open"] == 1201
    [failure] = read["failures"]["failures"]
    assert failure["error_text"] == HOSTILE
    assert failure["silenced_by"] == ["s1"]
    assert failure["acknowledged"] == {"by": "Zoë <i>", "at": "2026-11-23T10:32:50Z"}
    assert [(each["sink"], each["open"]) for each in failure["tickets"]] == [
        ("evil", True), ("snow", True), ("old", False),
    ]  # fmt: skip
    assert read["jobs"]["jobs"][0]["acknowledged"] == failure["acknowledged"]
    assert [each["label"] for each in read["jobs"]["jobs"][0]["tickets"]] == ["INC<b>7", "CLOSED-1"]
    assert [each["id"] for each in read["status"]["silences"]] == ["s1"]
    assert read["status"]["tickets"][0] == {
        "sink": "snow", "subject": "job:emea:u1", "label": "INC<b>7", "open": True,
        "url": "https://snow.example/7?a=1&b=2", "controller": "emea", "job_id": 42,
        "changed": "2026-11-23T10:33:00Z",
    }  # fmt: skip
    assert read["deliveries"]["deliveries"][0]["state"] == "dead"
    assert msgspec.convert(read["events"]["events"][0], Event) == FAILED
    whole = await client.get(f"/api/v1/events/{FAILED.id}")
    assert await whole.read() == encode(FAILED)


async def test_api_filters_reach_the_store(client: Client, ledger: FakeLedger) -> None:
    """What is asked is what is looked up."""
    await client.get("/api/v1/jobs?controller=emea&open=true&limit=7")
    await client.get("/api/v1/deliveries?state=dead&sink=chat&job=42&event=e1&limit=9")
    await client.get("/api/v1/events?controller=emea&job=42&limit=3")
    assert ("jobs", "emea", True, 7) in ledger.asked
    assert ("events", 3, "emea", 42) in ledger.asked
    wanted = DeliveryFilter(state=DeliveryState.DEAD, sink="chat", job_id=42, event_id="e1", limit=9)
    assert wanted in ledger.asked


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("jobs?limt=5", "limt"),
        ("jobs?limit=0", "1 to 1000"),
        ("jobs?limit=1001", "1 to 1000"),
        ("jobs?limit=-1", "whole number"),
        ("jobs?limit=5&limit=6", "more than once"),
        ("jobs?open=maybe", "true or false"),
        ("deliveries?state=lost", "pending, sent, dead"),
        ("deliveries?job=99999999999999999999", "whole number"),
        ("status?x=1", "this path has no parameters"),
    ],
)
async def test_a_misspelt_question_is_refused(client: Client, question: str, complaint: str) -> None:
    """A filter that is not understood is never silently ignored."""
    answer = await client.get(f"/api/v1/{question}")
    assert answer.status == 400
    assert complaint in (await answer.json())["error"]


async def test_ready_only_after_every_first_poll(client: Client, status: FakeStatus) -> None:
    """503 names the controller that was not tried yet; then 200; and 503 again while stopping."""
    status.tried = False
    answer = await client.get("/readyz")
    assert answer.status == 503
    assert "apac" in await answer.text()
    assert "emea" not in await answer.text()
    status.tried = True
    assert (await client.get("/readyz")).status == 200
    status.stopping = True
    assert "stopping" in await (await client.get("/readyz")).text()


async def test_without_a_store_it_lives_but_is_not_ready(client: Client, ledger: FakeLedger) -> None:
    """An unusable store makes the bridge unready and its pages 503, and nothing else."""
    ledger.broken = True
    assert (await client.get("/healthz")).status == 200
    ready = await client.get("/readyz")
    assert ready.status == 503
    assert "disk full" in await ready.text()
    assert (await client.get("/metrics")).status == 200
    for path in ("/", f"/events/{FAILED.id}", "/api/v1/status", "/api/v1/jobs"):
        answer = await client.get(path)
        assert answer.status == 503
        assert "disk full" not in await answer.text()


async def test_strangers_learn_no_reasons(client: Client, ledger: FakeLedger) -> None:
    """A probe through a proxy learns that the bridge is not ready, not why."""
    ledger.broken = True
    answer = await client.get("/readyz", headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.status == 503
    assert await answer.text() == "not ready\n"


async def test_a_store_that_hangs_is_unready_in_time(
    client: Client, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe gets its answer before it gives up."""

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ledger, "ping", hang)
    monkeypatch.setattr("cmc_notify.web.readiness.PING_TIMEOUT", 0.05)
    answer = await client.get("/readyz")
    assert answer.status == 503
    assert "did not respond" in await answer.text()


async def test_probes_do_not_load_the_store(client: Client, ledger: FakeLedger) -> None:
    """A burst of probes tries the store once, since each trial writes and no probe needs a token."""
    answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert ledger.asked.count("ping") == 1


async def test_readiness_follows_the_store(
    client: Client, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails and comes back makes the bridge unready and ready again."""
    monkeypatch.setattr("cmc_notify.web.readiness.PING_CACHE_TIME", 0.0)
    for broken, expected in ((False, 200), (True, 503), (False, 200)):
        ledger.broken = broken
        assert (await client.get("/readyz")).status == expected


async def test_metrics_show_what_the_store_holds(client: Client) -> None:
    """A scrape reads the outbox as it is now, in the format that Prometheus asks for."""
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = await answer.text()
    for line in (
        'cmc_notify_outbox_pending{sink="chat"} 2.0',
        'cmc_notify_outbox_dead{sink="chat"} 1.0',
        'cmc_notify_outbox_oldest_seconds{sink="chat"} 50.0',
        'cmc_notify_outbox_pending{sink="mail"} 0.0',
        'cmc_notify_sink_blocked{sink="mail"} 1.0',
        'cmc_notify_sink_blocked{sink="chat"} 0.0',
        'cmc_notify_failures_open{controller="emea"} 1201.0',
        'cmc_notify_failures_open{controller="apac"} 0.0',
    ):
        assert line in text.splitlines()


async def test_a_defect_tells_the_log_and_not_the_reader(
    client: Client, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen error is a plain 500 without details."""

    async def fail(**_: object) -> Sequence[tuple[str, JobState]]:
        raise RuntimeError("internal detail")

    monkeypatch.setattr(ledger, "jobs", fail)
    for path in ("/", "/api/v1/jobs"):
        answer = await client.get(path)
        assert answer.status == 500
        assert "internal detail" not in await answer.text()
        assert "see the log of the bridge for the reason" in await answer.text()


async def test_the_server_tells_its_port_and_stops(app: web.Application) -> None:
    """Port 0 becomes a real one; a second server on it is refused in words; after stop nobody listens."""
    server = WebServer(app, "127.0.0.1", 0)
    port = await server.start()
    async with ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert await answer.text() == "ok\n"
        second = WebServer(web.Application(), "127.0.0.1", port)
        with pytest.raises(CmcNotifyError, match=f"127.0.0.1:{port}"):
            await second.start()
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_silent_connections_are_few_and_end(app: web.Application) -> None:
    """Who proves nothing can't use up the files that polls and deliveries need."""
    server = WebServer(app, "127.0.0.1", 0, max_connections=2, idle_timeout=0.5)
    port = await server.start()
    silent, nothing = await asyncio.open_connection("127.0.0.1", port)
    partial, begun = await asyncio.open_connection("127.0.0.1", port)
    begun.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    beyond, refused = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionResetError):
        assert await beyond.read() == b"", "it is one too many"
    assert not silent.at_eof(), "it was not the time that ended that one"
    async with asyncio.timeout(5):
        assert await silent.read() == b""
        assert await partial.read() == b""
    for writer in (nothing, begun, refused):
        writer.close()
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
        assert await answer.text() == "ok\n", "there is room again"
    await server.stop()


async def test_what_is_no_http_logs_no_traceback(
    app: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    """A port scan is answered with 400 and fills no log."""
    server = WebServer(app, "127.0.0.1", 0)
    port = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    await server.stop()
    assert caplog.records == []


CHROMIUM = Path("/usr/bin/chromium")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.mark.skipif(
    not CHROMIUM.exists(), reason="no /usr/bin/chromium: install Debian's chromium to run this"
)
async def test_a_real_browser_shows_the_text_and_runs_no_script(app: web.Application) -> None:
    """In Chromium the hostile texts are seen, no script runs, and the page fits a phone, light and dark."""
    from playwright.async_api import ConsoleMessage, async_playwright  # noqa: PLC0415  slow, and only here

    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        if "favicon" not in str(message.location):
            complaints.append(message.text)

    server = WebServer(app, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{await server.start()}"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        backgrounds = set()
        for scheme in SCHEMES:
            page = await browser.new_page(color_scheme=scheme, viewport={"width": 360, "height": 740})
            page.on("console", complain)
            for path in ("/", f"/events/{FAILED.id}"):
                await page.goto(base + path)
                assert "owned" not in await page.title()
                assert 'document.title="owned"' in await page.inner_text("main")
                assert await page.evaluate("document.scripts.length + document.images.length") == 0
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= 360, f"{path} is {width} pixels wide"
            assert visible("line two\nline three\x1b[2J\u202eevil") in await page.inner_text("main")
            backgrounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(backgrounds) == 2, "the style was applied, and follows the reader's scheme"
        await browser.close()
    await server.stop()
    assert complaints == [], "nothing on the pages goes against their own policy"


async def test_what_people_did_from_chat(client: Client) -> None:
    """Every attempt with who it was, by which way, and what came of it."""
    async with client.get("/api/v1/actions?limit=5") as answer:
        assert answer.status == 200
        [action] = (await answer.json())["actions"]
    assert action == {
        "id": "a1",
        "time": rfc3339(NOW),
        "sink": "chat",
        "via": "socket",
        "action": "cancel",
        "outcome": "refused",
        "who": "U0BERT",
        "name": "<b>Bert",
        "subject": "job:emea:42-1",
        "detail": None,
        "reply": "not allowed",
    }
    async with client.get("/api/v1/actions?who=U0BERT") as answer:
        assert answer.status == 400
