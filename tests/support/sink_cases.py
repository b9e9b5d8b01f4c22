"""Every type of sink with a server that fails as it is told."""

import asyncio
import errno
import io
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Unclear
from cmc_notify.ports import Message, Sink
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import settings_class
from cmc_notify.simulator.chat import DiscordServer, TeamsServer
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from cmc_notify.simulator.slack import Fault, SlackServer, refusal_with
from cmc_notify.simulator.tickets import ServiceFault, TicketServer
from cmc_notify.sinks.console import ConsoleSink
from cmc_notify.sinks.plugin import SinkPlugin, load_plugins
from support.ticket_services import PLACES

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]
TIMEOUT = 0.4
OUTCOMES: dict[str, type[SendOutcome]] = {
    "busy": RetryLater,
    "fault": RetryLater,
    "credentials": Blocked,
    "gone": Blocked,
    "refused": Rejected,
    "lost": Unclear,
    "silent": Unclear,
}
"""The outcome of each fault, for every sink with a network receiver."""


class SinkCase(ABC):
    """One configured sink together with its receiver."""

    sink_type: ClassVar[str]
    """The sink type, as the registry names it."""
    preset: ClassVar[str | None] = None
    outcomes: ClassVar[Mapping[str, type[SendOutcome]]] = OUTCOMES
    """The faults that this receiver can have, each with its outcome."""
    connects: ClassVar[bool] = True
    """True if it opens network connections."""
    passes_retry_after: ClassVar[bool] = True
    probes_receiver: ClassVar[bool] = True
    takes_proxy: ClassVar[bool] = True
    secret: str = "s3cr3t"
    """The beginning of each secret in ``given``."""
    renderer = Renderer()
    echo: str
    """The words of an indiscreet receiver: every secret that it was given."""

    @abstractmethod
    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """Start the receiver; ``stack`` ends it."""

    @abstractmethod
    def given(self) -> dict[str, Any]:
        """Return the config, secrets included, for the running receiver."""

    @abstractmethod
    def fail_next(self, fault: str) -> None:
        """Let the next send meet this fault."""

    @abstractmethod
    def accepted(self) -> int:
        """Return how many messages the receiver accepted."""

    @abstractmethod
    async def request_arrived(self) -> None:
        """Return once the receiver has read a message."""

    def build(self, **more: Any) -> Sink:
        """Build the sink as the application does."""
        plugin = load_plugins()[self.sink_type]
        written = {"type": self.sink_type, **self.given(), "timeout": TIMEOUT, **more}
        self.settings = settings_class(plugin.settings, written).model_validate(written)
        return plugin.build("sink", self.settings, self.renderer)


class ConsoleCase(SinkCase):
    """A stream that fails as files, pipes and terminals do."""

    sink_type = "console"
    outcomes: ClassVar = {"fault": RetryLater, "gone": Blocked}
    connects = False
    passes_retry_after = False
    takes_proxy = False

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """Open the stream; a thread that hangs in it ends with the test."""
        del start_post_office
        self.stream = _FailingStream()
        stack.callback(self.stream.release.set)

    def given(self) -> dict[str, Any]:
        """Nothing to set, and no secret."""
        return {}

    def build(self, **more: Any) -> Sink:
        """Build the sink with the stream instead of standard output."""
        super().build(**more)
        return ConsoleSink("sink", self.renderer, self.stream)

    def fail_next(self, fault: str) -> None:
        """A full disk, a reader that has gone, or a reader that has stopped."""
        self.stream.fault = fault

    def accepted(self) -> int:
        """Texts that were written."""
        return self.stream.written

    async def request_arrived(self) -> None:
        """The first write."""
        await asyncio.to_thread(self.stream.reached.wait)


class _FailingStream(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.fault: str | None = None
        self.written = 0
        self.reached = threading.Event()
        self.release = threading.Event()

    def write(self, text: str) -> int:
        fault, self.fault = self.fault, None
        self.reached.set()
        if fault == "silent":
            self.release.wait()
        if fault is not None:
            raise OSError(errno.EPIPE if fault == "gone" else errno.ENOSPC, "simulated")
        self.written += 1
        return super().write(text)


class WebhookCase(SinkCase):
    """A webhook with a token in its path and another in a header."""

    sink_type = "webhook"
    echo = "bearer s3cr3ttoken may not post to /s3cr3tpath?key=s3cr3tpass"

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """A receiver of webhooks."""
        del start_post_office
        self.receiver = await stack.enter_async_context(Receiver())

    def given(self) -> dict[str, Any]:
        """A bearer token and a secret path."""
        auth = {"method": "bearer", "token": "s3cr3ttoken"}
        return {"url": f"{self.receiver.url}/s3cr3tpath?key=s3cr3tpass", "auth": auth}

    def fail_next(self, fault: str) -> None:
        """By status."""
        responses = {
            "busy": ScriptedResponse(429, {"Retry-After": "7"}, self.echo),
            "fault": ScriptedResponse(503, body=self.echo),
            "credentials": ScriptedResponse(401, body=self.echo),
            "gone": ScriptedResponse(410, body=self.echo),
            "refused": ScriptedResponse(400, body=self.echo),
            "lost": ScriptedResponse(action="reset"),
            "silent": ScriptedResponse(action="hang"),
        }
        self.receiver.script.append(responses[fault])

    def accepted(self) -> int:
        """Requests that got a success."""
        return sum(request.status == 200 for request in self.receiver.requests)

    async def request_arrived(self) -> None:
        """Any request will do."""
        await self.receiver.wait(lambda seen: bool(seen.requests))


class SlackIncomingCase(SinkCase):
    """Slack's incoming webhook, whose address is the secret."""

    sink_type = "slack"
    echo = "no service at /services/T0/B0/s3cr3tpath"

    method = "webhook"

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """A workspace."""
        del start_post_office
        server = SlackServer()
        server.token = "s3cr3ttoken"
        server.webhook_path = "/services/T0/B0/s3cr3tpath"
        self.server = await stack.enter_async_context(server)

    def given(self) -> dict[str, Any]:
        """Only the address."""
        return {"webhook_url": self.server.webhook_url}

    def fail_next(self, fault: str) -> None:
        """In plain text, as incoming webhooks respond."""
        responses = {
            "busy": Fault("respond", status=429, body="rate_limited", headers=(("Retry-After", "7"),)),
            "fault": Fault("respond", status=503, body=self.echo),
            "credentials": Fault("respond", status=403, body="invalid_token"),
            "gone": Fault("respond", status=410, body="channel_is_archived"),
            "refused": Fault("respond", status=400, body="invalid_payload"),
            "lost": Fault("drop"),
            "silent": Fault("hang"),
        }
        self.server.fail_next(self.method, responses[fault])

    def accepted(self) -> int:
        """Messages in the channel."""
        return len(self.server.parents)

    async def request_arrived(self) -> None:
        """The first post."""
        await self.server.wait(lambda seen: any(name == self.method for name, _ in seen.calls))


class SlackBotCase(SlackIncomingCase):
    """Slack with a bot token."""

    echo = "the token s3cr3ttoken is not known"

    method = "chat.postMessage"

    def given(self) -> dict[str, Any]:
        """Token and channel."""
        return {"token": "s3cr3ttoken", "channel": "#netops", "api_url": self.server.api_url}

    def fail_next(self, fault: str) -> None:
        """In Slack's own words."""
        if fault == "busy":
            self.server.rate_limit(self.method, seconds=7)
            return
        responses = {
            "fault": Fault("respond", status=503, body=self.echo),
            "credentials": refusal_with("token_revoked", detail=self.echo),
            "gone": refusal_with("channel_not_found", detail=self.echo),
            "refused": refusal_with("invalid_blocks", detail=self.echo),
            "lost": Fault("drop"),
            "silent": Fault("hang"),
        }
        self.server.fail_next(self.method, responses[fault])


class EmailCase(SinkCase):
    """A mail server that asks for a password."""

    sink_type = "email"
    echo = "no such thing as s3cr3tpass, czNjcjN0cGFzcw==, AGNtYwBzM2NyM3RwYXNz"

    passes_retry_after = False
    takes_proxy = False

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """A mail server; its fixture ends it."""
        del stack
        self.office = await start_post_office(auth_require_tls=False)

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

    def fail_next(self, fault: str) -> None:
        """By the SMTP command that fails."""
        command, reply = {
            "busy": ("DATA", f"452 {self.echo}"),
            "fault": ("MAIL", f"451 {self.echo}"),
            "credentials": ("MAIL", f"530 {self.echo}"),
            "gone": ("MAIL", f"550 {self.echo}"),
            "refused": ("DATA", f"554 {self.echo}"),
            "lost": ("DATA", "lost"),
            "silent": ("DATA", "silent"),
        }[fault]
        self.office.once[command] = reply

    def accepted(self) -> int:
        """Mails that were accepted."""
        return int(self.office.accepted)

    async def request_arrived(self) -> None:
        """The first mail, accepted or not."""
        await self.office.arrived.wait()


class AppriseCase(WebhookCase):
    """A service behind Apprise, with a password and a token in its path; Apprise says only yes or no."""

    sink_type = "apprise"
    outcomes: ClassVar = {**OUTCOMES, "refused": RetryLater}
    passes_retry_after = False
    probes_receiver = False
    takes_proxy = False

    def given(self) -> dict[str, Any]:
        """One URL."""
        host = self.receiver.url.removeprefix("http://")
        return {"urls": [f"json://cmc:s3cr3tpass@{host}/s3cr3tpath?+key=s3cr3tkey"]}


class VendorCase(SinkCase):
    """A webhook with a preset and its vendor's service."""

    sink_type = "webhook"
    create: str
    """The service's operation that takes a new message or opens a ticket."""
    server: TicketServer

    def fail_next(self, fault: str) -> None:
        """By status, at the request that creates something."""
        faults = {
            "busy": ServiceFault("respond", status=429, body=self.echo, headers=(("Retry-After", "7"),)),
            "fault": ServiceFault("respond", status=503, body=self.echo),
            "credentials": ServiceFault("respond", status=401, body=self.echo),
            "gone": ServiceFault("respond", status=410, body=self.echo),
            "refused": ServiceFault("respond", status=400, body=self.echo),
            "lost": ServiceFault("drop"),
            "silent": ServiceFault("hang"),
        }
        self.server.fail_next(self.create, faults[fault])

    async def request_arrived(self) -> None:
        """The first request that would create something."""
        await self.server.wait(lambda seen: any(name == self.create for name, _ in seen.calls))


class TicketCase(VendorCase):
    """A ticket preset."""

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """The vendor's ticket service."""
        del start_post_office
        assert self.preset is not None
        self.service = PLACES[self.preset]()
        self.create = self.service.create
        self.echo = f"{self.service.secret} of Y21jOnMzY3IzdHRva2Vu is not known"
        self.server = await stack.enter_async_context(self.service.desk)

    def given(self) -> dict[str, Any]:
        """The preset's settings, with its secret."""
        return {"preset": self.preset, **self.service.given()}

    def accepted(self) -> int:
        """Changes that the service made."""
        return len(self.server.applied)


class DiscordCase(VendorCase):
    """A channel's webhook, whose address is the secret."""

    preset = "discord"
    create = "execute"
    secret = "simulated-secret"
    echo = "no webhook at /api/webhooks/223704706495545344/simulated-secret"

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """A channel."""
        del start_post_office
        self.server: DiscordServer = await stack.enter_async_context(DiscordServer())

    def given(self) -> dict[str, Any]:
        """Only the address."""
        return {"preset": self.preset, "url": self.server.webhook_url}

    def accepted(self) -> int:
        """Messages in the channel."""
        return len(self.server.messages)


class TeamsCase(VendorCase):
    """A workflow, whose address is the secret."""

    preset = "teams"
    create = "card"
    secret = "simulated-secret"
    echo = "no workflow at /workflows/simulated-secret/triggers/manual/paths/invoke"

    async def start(self, stack: AsyncExitStack, start_post_office: StartPostOffice) -> None:
        """A workflow."""
        del start_post_office
        self.server: TeamsServer = await stack.enter_async_context(TeamsServer())

    def given(self) -> dict[str, Any]:
        """Only the address."""
        return {"preset": self.preset, "url": self.server.webhook_url}

    def accepted(self) -> int:
        """Cards in the channel."""
        return len(self.server.cards)


CASES: dict[str, type[SinkCase]] = {
    "console": ConsoleCase,
    "webhook": WebhookCase,
    "apprise": AppriseCase,
    "slack incoming": SlackIncomingCase,
    "slack bot": SlackBotCase,
    "email": EmailCase,
    "discord": DiscordCase,
    "teams": TeamsCase,
    **{name: type(name, (TicketCase,), {"preset": name}) for name in PLACES},
}
"""The cases by name. A new sink type or preset needs one."""


def missing_cases(plugins: Mapping[str, SinkPlugin]) -> list[str]:
    """Return what to add for each registered sink type and preset without a case."""
    covered = {(case.sink_type, case.preset) for case in CASES.values()}
    registered = [(name, preset) for name, plugin in plugins.items() for preset in (None, *plugin.presets)]
    return [
        f"sink type {name!r}{f', preset {preset!r}' if preset else ''}: add a SinkCase to CASES in "
        f"tests/contract/sinks/test_sink_contract.py"
        for name, preset in registered
        if (name, preset) not in covered
    ]
