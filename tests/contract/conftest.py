"""What the contract tests of sinks share: messages, a plain renderer, a recorder of parts, certificates."""

import asyncio
import hashlib
import html
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from cmc_notify.core.events import (
    ApplianceCounts,
    Counts,
    Event,
    EventType,
    Failure,
    FeatureRef,
    JobInfo,
    Targets,
    encode,
)
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Rendered, SizeLimits
from support.recorded_parts import Parts

MakeMessage = Callable[..., Message]


def failure(number: int, text: str = "the push timed out") -> Failure:
    """One failed pair."""
    return Failure(f"V2AB{number:04}", f"edge-{number}", 3, "QoS", text, new=True)


@pytest.fixture
def make_message() -> MakeMessage:
    """``make_message(key, texts=…, url=…, error_text=…)``: a failed job, one failure for each text."""

    def make(
        key: str = "0193d1c2e5a84f10b7",
        *,
        texts: tuple[str, ...] = ("the push timed out",),
        url: str | None = None,
        error_text: str | None = None,
        controller: str = "emea",
    ) -> Message:
        job = JobInfo(
            id=42,
            idx=42,
            timestamp=1795430000,
            operation="push",
            status="Failed",
            previous_status="InProgress",
            created="2026-11-23T09:00:00Z",
            pushed="2026-11-23T09:05:00Z",
            completed="2026-11-23T09:20:00Z",
            backup=True,
            error_text=error_text,
            features=(FeatureRef(3, "qos", "QoS"),),
            targets=Targets(site_ids=(7,)),
            counts=Counts(len(texts), 0, 0, 0, len(texts), ApplianceCounts(len(texts), len(texts))),
        )
        event = Event(
            id="019aaf3c8e0000000123456789abcd",
            type=EventType.JOB_FAILED,
            time="2026-11-23T09:20:00Z",
            severity="error",
            controller=controller,
            url=url,
            job=job,
            failures=tuple(failure(number, text) for number, text in enumerate(texts, 1)),
        )
        return Message(key=key, event=event, subject="job-42")

    return make


class PlainRenderer:
    """Every document, whole and without ornament, so that these tests are about sinks alone."""

    def render(
        self,
        sink_type: str,  # noqa: ARG002  the port has it
        extension: str,
        message: Message,
        *,
        brief: bool = False,
        size_limits: SizeLimits | None = None,
    ) -> Rendered:
        """The event for machines; for people a headline and every failure (with ``brief`` one)."""
        event = message.event
        if extension == "json":
            return Rendered(encode(event).decode())
        headline = f"{event.controller}: {event.type} in job {event.job.id if event.job else '-'}"
        if extension == "subject":
            return Rendered(headline)
        shown = event.failures[: 1 if brief else size_limits.groups if size_limits else None]
        lines = [f"{one.serial} {one.feature}: {visible(one.error_text or '')}" for one in shown]
        if event.failures_omitted:
            lines.append(f"{event.failures_omitted} more are left out")
        if extension == "html":
            items = "".join(f"<p style='white-space:pre-wrap'>{html.escape(line)}</p>" for line in lines)
            return Rendered(
                f"<!doctype html><html><body><h1>{html.escape(headline)}</h1>{items}</body></html>"
            )
        return Rendered("\n".join([headline, *lines]))


@pytest.fixture
def renderer() -> PlainRenderer:
    """A renderer without templates."""
    return PlainRenderer()


@pytest.fixture
def record() -> Parts:
    """A recorder of accepted parts."""
    return Parts()


@dataclass(frozen=True)
class Certificates:
    """A private authority, a server's context for 127.0.0.1 and localhost, and a client's files."""

    ca_file: Path
    server: ssl.SSLContext
    mutual: ssl.SSLContext
    """A server that asks its clients for a certificate of this authority."""
    client_cert: Path
    client_key: Path
    fingerprint: str


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once: keys are slow to make."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    client = authority.issue_cert("bridge@example.net")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    client.private_key_pem.write_to_path(folder / "client.key")
    server, mutual = (_server_context(authority, issued) for _ in range(2))
    mutual.verify_mode = ssl.CERT_REQUIRED
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    return Certificates(
        ca_file=folder / "ca.pem",
        server=server,
        mutual=mutual,
        client_cert=folder / "client.pem",
        client_key=folder / "client.key",
        fingerprint=hashlib.sha256(der).hexdigest(),
    )


def _server_context(authority: trustme.CA, issued: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    authority.configure_trust(context)
    return context


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and which nobody else is given."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class PostOffice:
    """A real SMTP server's handler: keeps mails, answers as told.

    ``answers`` maps ``MAIL``, ``DATA`` or a recipient to the reply. ``DATA`` may also be ``lost`` (the mail
    is kept and the connection cut) or ``silent``.
    """

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.answers: dict[str, str] = {}
        self.once: dict[str, str] = {}
        """As ``answers``, for the next time alone."""
        self.accepted = 0
        self.goodbyes = 0
        self.signed_in: list[str] = []
        self.port = 0
        self.arrived = asyncio.Event()

    def _answer(self, command: str, usual: str) -> str:
        return self.once.pop(command, None) or self.answers.get(command, usual)

    async def handle_MAIL(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a sender, or not."""
        envelope.mail_from = address
        return self._answer("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        answer = self._answer(address, "250 OK")
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        """Take a mail, or not."""
        answer = self._answer("DATA", "250 queued as 7")
        if answer[0] in "2ls":
            self.mails.append(envelope)
        self.accepted += answer.startswith("2")
        self.arrived.set()
        if answer == "lost":
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        if answer == "silent":
            await asyncio.Event().wait()
        return answer

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        """Count who leaves politely."""
        self.goodbyes += 1
        return "221 bye"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        """Know one user."""
        user, password = data.login.decode(), data.password.decode()
        self.signed_in.append(user)
        return AuthResult(success=(user, password) == ("cmc", "s3cr3tpass"), handled=False)


StartPostOffice = Callable[..., Awaitable[PostOffice]]


@pytest.fixture
async def start_post_office() -> AsyncIterator[StartPostOffice]:
    """Mail servers on loopback; called with ``tls=context`` for implicit TLS and what aiosmtpd takes."""
    servers: list[asyncio.Server] = []
    talks: list[SMTP] = []

    async def start(*, tls: ssl.SSLContext | None = None, **options: Any) -> PostOffice:
        office = PostOffice()

        def talk() -> SMTP:
            made = SMTP(office, hostname="mx.example.net", authenticator=office.authenticate, **options)
            talks.append(made)
            return made

        server = await asyncio.get_running_loop().create_server(talk, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        office.port = server.sockets[0].getsockname()[1]
        return office

    yield start
    for server in servers:
        server.close()
    for talk in talks:
        if isinstance(talk.transport, asyncio.WriteTransport):
            talk.transport.abort()
        if talk._handler_coroutine is not None:
            talk._handler_coroutine.cancel()
            await asyncio.gather(talk._handler_coroutine, return_exceptions=True)
