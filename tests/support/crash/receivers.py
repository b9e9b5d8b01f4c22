"""Where a bridge that dies again and again tells what it knows: a webhook, and a mail server."""

import asyncio
from email import message_from_bytes, policy
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from cmc_notify.simulator.receiver import Received, Receiver

READERS = ("noc@example.net", "ops@example.net")


class Arrival(NamedTuple):
    """One acceptance of one delivery. ``reader`` is None where nobody in particular gets it."""

    key: str
    reader: str | None
    document: Any


class Receivers:
    """Everything accepted, in the order in which it came."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.hook = Receiver(on_request=self._requested)
        self.mail = _MailServer(self.arrivals)

    async def __aenter__(self) -> Self:
        await self.hook.start()
        await self.mail.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hook.stop()
        await self.mail.stop()

    def _requested(self, request: Received) -> None:
        if request.status == 200:
            assert request.id
            self.arrivals.append(Arrival(request.id, None, request.document))


class _MailServer:
    """Takes each mail for one recipient, and has the others come again: RFC 5321, 4.5.3.1.10 allows it.

    So a mail to two readers goes out in two parts, one after the other. Each mail's text is the document.
    """

    def __init__(self, arrivals: list[Arrival]) -> None:
        self.port = 0
        self._arrivals = arrivals
        self._server: asyncio.Server | None = None
        self._talks: list[SMTP] = []

    async def start(self) -> None:
        """Listen on loopback."""
        self._server = await asyncio.get_running_loop().create_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and end every connection."""
        assert self._server
        self._server.close()
        for talk in self._talks:
            if isinstance(talk.transport, asyncio.WriteTransport):
                talk.transport.abort()
            if talk._handler_coroutine is not None:
                talk._handler_coroutine.cancel()
                await asyncio.gather(talk._handler_coroutine, return_exceptions=True)

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """One only."""
        if envelope.rcpt_tos:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        """Keep the mail."""
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        text = mail.get_body(("plain",))
        assert text
        key = str(mail["Message-ID"]).strip("<>").partition("@")[0]
        self._arrivals.append(Arrival(key, envelope.rcpt_tos[0], msgspec.json.decode(text.get_content())))
        return "250 kept"

    def _talk(self) -> SMTP:
        talk = SMTP(self, hostname="mx.example.net")
        self._talks.append(talk)
        return talk
