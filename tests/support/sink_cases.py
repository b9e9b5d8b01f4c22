"""Every type of sink with a server that fails as it is told."""

import asyncio
import errno
import io
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from cmc_notify.core.outcome import Blocked, RetryLater
from cmc_notify.ports import Sink
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from cmc_notify.simulator.slack import Fault, SlackServer, refusal_with
from cmc_notify.sinks.console import ConsoleSink
from cmc_notify.sinks.plugin import SinkPlugin
from support.sink_case import OUTCOMES, SinkCase, StartPostOffice
from support.ticket_services import PLACES
from support.vendor_cases import DiscordCase, TeamsCase, TicketCase


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
