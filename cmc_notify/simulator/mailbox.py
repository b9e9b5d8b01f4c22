"""A mailbox behind a small SMTP server (RFC 5321) on loopback: it accepts and keeps every mail.

For the demo and for trying templates. It has no TLS and no sign-in, and relays nothing.
"""

import asyncio
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Self

from msgspec import Struct

LARGEST_MAIL = 32 * 1024 * 1024
_LONGEST_LINE = 64 * 1024
_ALWAYS = {
    "EHLO": ("250-mailbox", f"250-SIZE {LARGEST_MAIL}", "250 8BITMIME"),
    "HELO": ("250 mailbox",),
    "NOOP": ("250 OK",),
    "QUIT": ("221 bye",),
}
"""Commands whose reply never changes."""


class Mail(Struct, frozen=True):
    """One received mail, without dot-stuffing."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """Return the parsed mail."""
        return message_from_bytes(self.content, policy=policy.default)


class Mailbox:
    """Keeps every mail in ``mails`` and calls ``on_mail`` with each."""

    def __init__(self, *, on_mail: Callable[[Mail], None] | None = None) -> None:
        self.mails: list[Mail] = []
        self.port = 0
        """The port on which it listens, once started."""
        self._on_mail = on_mail
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Start listening; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=_LONGEST_LINE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server:
            self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        if self._server:
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return self if self._server else await self.start()

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def wait(self, until: Callable[[Self], bool], *, timeout: float = 10.0) -> None:  # noqa: ASYNC109  callers read better so
        """Return as soon as ``until(self)`` holds; raises TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: until(self))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        if session is not None:
            self._sessions.add(session)
            session.add_done_callback(self._sessions.discard)
        try:
            await _Session(self, reader, writer).run()
        except (OSError, EOFError, ValueError):
            pass  # the client disconnected early, or does not use SMTP
        except asyncio.CancelledError:
            pass  # stop() waits for this task; a stream server would report the cancellation as an error
        finally:
            writer.close()

    async def take(self, mail: Mail) -> None:
        """Add one mail."""
        async with self._changed:
            self.mails.append(mail)
            self._changed.notify_all()
        if self._on_mail:
            self._on_mail(mail)


class _Session:
    """One client's commands."""

    def __init__(self, mailbox: Mailbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._mailbox = mailbox
        self._reader = reader
        self._writer = writer
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._write("220 cmc-notify mailbox ESMTP")
        while line := await self._reader.readline():
            verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            verb = verb.upper()
            if verb == "DATA":
                await self._data()
            else:
                await self._write(*self._reply(verb, rest))
            if verb == "QUIT":
                return

    def _reply(self, verb: str, rest: str) -> tuple[str, ...]:
        if verb in _ALWAYS:
            return _ALWAYS[verb]
        if verb == "RCPT" and self._sender is None:
            return ("503 MAIL comes first",)
        if verb == "RCPT":
            self._recipients.append(_path(rest))
        elif verb in ("MAIL", "RSET"):
            self._sender, self._recipients = _path(rest) if verb == "MAIL" else None, []
        else:
            return ("502 not known here",)
        return ("250 OK",)

    async def _data(self) -> None:
        if self._sender is None or not self._recipients:
            await self._write("503 MAIL and RCPT come first")
            return
        await self._write("354 end with a line that holds only a dot")
        lines: list[bytes] = []
        size = 0
        while (line := await self._reader.readuntil(b"\n")) not in (b".\r\n", b".\n"):
            size += len(line)
            if size <= LARGEST_MAIL:
                lines.append(line.removeprefix(b"."))
        if size > LARGEST_MAIL:
            await self._write("552 larger than this mailbox")
        else:
            await self._mailbox.take(Mail(self._sender, tuple(self._recipients), b"".join(lines)))
            await self._write(f"250 kept as mail {len(self._mailbox.mails)}")
        self._sender, self._recipients = None, []

    async def _write(self, *lines: str) -> None:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self._writer.drain()


def _path(rest: str) -> str:
    """Return the address in ``FROM:<a@b> SIZE=1``."""
    return rest.partition(":")[2].strip().split(" ")[0].strip("<>")
