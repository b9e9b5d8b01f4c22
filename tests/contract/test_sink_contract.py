"""What every sink promises, each tried against a real server on loopback.

One table of troubles for all of them: what passes is retried, what may have arrived is unclear, what an
operator must mend blocks, what speaks of one message rejects it. No secret comes out, a cancelled send
leaves nothing behind, a probe tells nobody anything.
"""

import asyncio
import gc
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message, Sink
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import settings_class
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from cmc_notify.simulator.slack import Fault, SlackServer, refusal_with
from cmc_notify.simulator.tickets import ServiceFault
from cmc_notify.sinks import apprise, email, slack, webhook
from cmc_notify.sinks.plugin import SinkPlugin
from support.ticket_services import PLACES, TicketPlace

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]
TIMEOUT = 0.4
SECRET = "s3cr3t"  # every secret here begins so
EXPECTED: dict[str, type[SendOutcome]] = {
    "busy": RetryLater,
    "fault": RetryLater,
    "credentials": Blocked,
    "gone": Blocked,
    "refused": Rejected,
    "lost": Unclear,
    "silent": Unclear,
}


class Place(ABC):
    """One kind of sink with the other side that it talks to."""

    plugin: SinkPlugin
    renderer = Renderer()
    expected: ClassVar[dict[str, type[SendOutcome]]] = EXPECTED
    lets_look = True
    """Whether a probe asks the other side."""
    echo: str
    """What an indiscreet other side says: every secret that it was given."""

    @abstractmethod
    def given(self) -> dict[str, Any]:
        """What the config says, secrets included, for the other side as it is now."""

    @abstractmethod
    def trouble(self, kind: str) -> None:
        """Let the next send meet this trouble."""

    @abstractmethod
    def taken(self) -> int:
        """How many messages arrived."""

    @abstractmethod
    async def reached(self) -> None:
        """Return once the other side has read a message."""

    def build(self, **more: Any) -> Sink:
        """The sink as the application builds it."""
        written = {**self.given(), "timeout": TIMEOUT, **more}
        self.settings = settings_class(self.plugin.settings, written).model_validate(written)
        return self.plugin.build("place", self.settings, self.renderer)


class WebhookPlace(Place):
    """A webhook with a token in its path and another in a header."""

    plugin = webhook.PLUGIN
    echo = "bearer s3cr3ttoken may not post to /s3cr3tpath?key=s3cr3tpass"

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def given(self) -> dict[str, Any]:
        """A bearer token and a secret path."""
        auth = {"method": "bearer", "token": "s3cr3ttoken"}
        return {"url": f"{self.receiver.url}/s3cr3tpath?key=s3cr3tpass", "auth": auth}

    def trouble(self, kind: str) -> None:
        """By status."""
        answers = {
            "busy": ScriptedResponse(429, {"Retry-After": "7"}, self.echo),
            "fault": ScriptedResponse(503, body=self.echo),
            "credentials": ScriptedResponse(401, body=self.echo),
            "gone": ScriptedResponse(410, body=self.echo),
            "refused": ScriptedResponse(400, body=self.echo),
            "lost": ScriptedResponse(action="reset"),
            "silent": ScriptedResponse(action="hang"),
        }
        self.receiver.script.append(answers[kind])

    def taken(self) -> int:
        """Requests that were answered with success."""
        return sum(request.status == 200 for request in self.receiver.requests)

    async def reached(self) -> None:
        """Any request will do."""
        await self.receiver.wait(lambda seen: bool(seen.requests))


class IncomingPlace(Place):
    """Slack's incoming webhook, whose address is the secret."""

    plugin = slack.PLUGIN
    echo = "no service at /services/T0/B0/s3cr3tpath"

    def __init__(self, server: SlackServer) -> None:
        self.server = server
        self.method = "webhook"

    def given(self) -> dict[str, Any]:
        """Only the address."""
        return {"webhook_url": self.server.webhook_url}

    def trouble(self, kind: str) -> None:
        """In plain text, as incoming webhooks answer."""
        answers = {
            "busy": Fault("respond", status=429, body="rate_limited", headers=(("Retry-After", "7"),)),
            "fault": Fault("respond", status=503, body=self.echo),
            "credentials": Fault("respond", status=403, body="invalid_token"),
            "gone": Fault("respond", status=410, body="channel_is_archived"),
            "refused": Fault("respond", status=400, body="invalid_payload"),
            "lost": Fault("drop"),
            "silent": Fault("hang"),
        }
        self.server.fail_next(self.method, answers[kind])

    def taken(self) -> int:
        """Messages in the channel."""
        return len(self.server.parents)

    async def reached(self) -> None:
        """The first post."""
        await self.server.wait(lambda seen: any(name == self.method for name, _ in seen.calls))


class BotPlace(IncomingPlace):
    """Slack with a bot token."""

    echo = "the token s3cr3ttoken is not known"

    def __init__(self, server: SlackServer) -> None:
        super().__init__(server)
        self.method = "chat.postMessage"

    def given(self) -> dict[str, Any]:
        """Token and channel."""
        return {"token": "s3cr3ttoken", "channel": "#netops", "api_url": self.server.api_url}

    def trouble(self, kind: str) -> None:
        """In Slack's own words."""
        if kind == "busy":
            self.server.rate_limit(self.method, seconds=7)
            return
        answers = {
            "fault": Fault("respond", status=503, body=self.echo),
            "credentials": refusal_with("token_revoked", detail=self.echo),
            "gone": refusal_with("channel_not_found", detail=self.echo),
            "refused": refusal_with("invalid_blocks", detail=self.echo),
            "lost": Fault("drop"),
            "silent": Fault("hang"),
        }
        self.server.fail_next(self.method, answers[kind])


class EmailPlace(Place):
    """A mail server that asks for a password."""

    plugin = email.PLUGIN
    echo = "no such thing as s3cr3tpass, czNjcjN0cGFzcw==, AGNtYwBzM2NyM3RwYXNz"

    def __init__(self, office: Any) -> None:
        self.office = office

    def given(self) -> dict[str, Any]:
        """A password, on loopback."""
        return {
            "host": "127.0.0.1",
            "port": self.office.port,
            "tls": "none",
            "username": "cmc",
            "password": "s3cr3tpass",
            "from": "cmc@example.net",
            "to": "noc@example.net",
        }

    def trouble(self, kind: str) -> None:
        """By the command that meets it."""
        command, answer = {
            "busy": ("DATA", f"452 {self.echo}"),
            "fault": ("MAIL", f"451 {self.echo}"),
            "credentials": ("MAIL", f"530 {self.echo}"),
            "gone": ("MAIL", f"550 {self.echo}"),
            "refused": ("DATA", f"554 {self.echo}"),
            "lost": ("DATA", "lost"),
            "silent": ("DATA", "silent"),
        }[kind]
        self.office.once[command] = answer

    def taken(self) -> int:
        """Mails that were accepted."""
        return int(self.office.accepted)

    async def reached(self) -> None:
        """The first mail, whatever became of it."""
        await self.office.arrived.wait()


class ApprisePlace(WebhookPlace):
    """A service behind Apprise, with a password and a token in its path; Apprise says only yes or no."""

    plugin = apprise.PLUGIN
    expected: ClassVar = {**EXPECTED, "refused": RetryLater}
    lets_look = False

    def given(self) -> dict[str, Any]:
        """One URL."""
        host = self.receiver.url.removeprefix("http://")
        return {"urls": [f"json://cmc:s3cr3tpass@{host}/s3cr3tpath?+key=s3cr3tkey"]}


class PresetPlace(Place):
    """A webhook with a ticket preset."""

    plugin = webhook.PLUGIN

    def __init__(self, place: TicketPlace) -> None:
        self.place = place
        self.desk = place.desk
        self.echo = f"{place.secret} of Y21jOnMzY3IzdHRva2Vu is not known"

    def given(self) -> dict[str, Any]:
        """What the preset needs, with its secret."""
        return {"preset": self.place.preset, **self.place.given()}

    def trouble(self, kind: str) -> None:
        """By status, at the request that opens a ticket."""
        troubles = {
            "busy": ServiceFault("respond", status=429, body=self.echo, headers=(("Retry-After", "7"),)),
            "fault": ServiceFault("respond", status=503, body=self.echo),
            "credentials": ServiceFault("respond", status=401, body=self.echo),
            "gone": ServiceFault("respond", status=410, body=self.echo),
            "refused": ServiceFault("respond", status=400, body=self.echo),
            "lost": ServiceFault("drop"),
            "silent": ServiceFault("hang"),
        }
        self.desk.fail_next(self.place.create, troubles[kind])

    def taken(self) -> int:
        """Changes that the service made."""
        return len(self.desk.applied)

    async def reached(self) -> None:
        """The first request that would open a ticket."""
        await self.desk.wait(lambda seen: any(name == self.place.create for name, _ in seen.calls))


@pytest.fixture(params=["webhook", "apprise", "slack incoming", "slack bot", "email", *PLACES])
async def place(request: pytest.FixtureRequest, start_post_office: StartPostOffice) -> AsyncIterator[Place]:
    """Each kind of sink in turn."""
    match request.param:
        case "webhook":
            async with Receiver() as receiver:
                yield WebhookPlace(receiver)
        case "apprise":
            async with Receiver() as receiver:
                yield ApprisePlace(receiver)
        case "email":
            yield EmailPlace(await start_post_office(auth_require_tls=False))
        case preset if preset in PLACES:
            made = PLACES[preset]()
            async with made.desk:
                yield PresetPlace(made)
        case kind:
            server = SlackServer()
            server.token = "s3cr3ttoken"
            server.webhook_path = "/services/T0/B0/s3cr3tpath"
            async with server:
                yield IncomingPlace(server) if kind == "slack incoming" else BotPlace(server)
    gc.collect(1)  # what was left open speaks up now, and warnings are errors


@pytest.mark.parametrize("kind", EXPECTED)
async def test_the_table_of_troubles(kind: str, place: Place, make_message: MakeMessage, record: Any) -> None:
    """Each trouble has its outcome, within the time-out, without a secret; then the sink goes on."""
    sink = place.build()
    place.trouble(kind)
    async with asyncio.timeout(TIMEOUT + 5):
        outcome = await sink.send(make_message(), record)
    assert type(outcome) is place.expected[kind]
    assert SECRET not in repr(outcome)
    assert not any(coded in repr(outcome) for coded in ("czNjcjN0", "AGNtYwBz"))
    assert record.recorded == {}
    assert isinstance(await sink.send(make_message(key="next"), record), Sent)
    assert place.applied() == 1
    await sink.close()


async def test_a_receivers_wish_is_passed_on(place: Place, make_message: MakeMessage, record: Any) -> None:
    """Where the other side says when to come again, the outcome says so (SMTP and Apprise know none)."""
    sink = place.build()
    place.trouble("busy")
    outcome = await sink.send(make_message(), record)
    assert isinstance(outcome, RetryLater)
    assert outcome.after == (None if isinstance(place, EmailPlace | ApprisePlace) else 7.0)
    await sink.close()


async def test_nobody_listens(place: Place, make_message: MakeMessage, record: Any, closed_port: int) -> None:
    """A refused connection is for later, and its reason holds no secret; a probe says the same."""
    where = {
        "url": f"http://127.0.0.1:{closed_port}/s3cr3tpath",
        "webhook_url": f"http://127.0.0.1:{closed_port}/services/s3cr3tpath",
        "api_url": f"http://127.0.0.1:{closed_port}/api/",
        "port": closed_port,
        "urls": [f"json://cmc:s3cr3tpass@127.0.0.1:{closed_port}/s3cr3tpath"],
    }
    given = place.given()
    sink = place.build(**{key: value for key, value in where.items() if key in given})
    outcomes = [await sink.send(make_message(), record)]
    outcomes += [await sink.probe()] if place.lets_look else []
    for outcome in outcomes:
        assert isinstance(outcome, RetryLater)
        assert SECRET not in outcome.reason
    await sink.close()


async def test_a_cancelled_send_leaves_nothing_behind(
    place: Place, make_message: MakeMessage, record: Any
) -> None:
    """Cancelled in the middle, a send ends at once and records nothing; the sink goes on."""
    sink = place.build(timeout=30)
    place.trouble("silent")
    task = asyncio.create_task(sink.send(make_message(), record))
    await place.reached()
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert record.recorded == {}
    assert isinstance(await sink.send(make_message(key="next"), record), Sent)
    await sink.close()


async def test_messages_go_side_by_side(place: Place, make_message: MakeMessage, record: Any) -> None:
    """Several deliveries share one sink."""
    sink = place.build(timeout=10)
    outcomes = await asyncio.gather(*(sink.send(make_message(key=f"key{n}"), record) for n in range(4)))
    assert [type(outcome) for outcome in outcomes] == [Sent] * 4
    assert place.applied() == 4
    await sink.close()


async def test_a_probe_tells_nobody_anything(place: Place) -> None:
    """A healthy place is found healthy, and nothing arrives there."""
    sink = place.build()
    assert isinstance(await sink.probe(), Sent)
    assert place.applied() == 0
    await sink.close()


async def test_a_sink_can_be_closed_at_any_time(place: Place, make_message: MakeMessage, record: Any) -> None:
    """Closing an unused sink, and closing twice, is nothing special."""
    unused = place.build()
    await unused.close()
    sink = place.build()
    assert isinstance(await sink.send(make_message(), record), Sent)
    await sink.close()
    await sink.close()


def test_no_secret_in_a_repr(place: Place) -> None:
    """Neither the settings nor the sink show what they hold, also not a proxy's password."""
    assert SECRET in repr(place.given())
    proxy = (
        {}
        if isinstance(place, EmailPlace | ApprisePlace)
        else {"proxy": "http://u:s3cr3tpass@proxy.example.net:3128"}
    )
    sink = place.build(**proxy)
    for shown in (repr(place.settings), str(place.settings), repr(sink), repr(vars(sink).keys())):
        assert SECRET not in shown
