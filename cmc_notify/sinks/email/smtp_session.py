"""The session with the mail server (RFC 5321).

One transaction carries a mail to all recipients who wait for it. The server replies for each of them, and one
bad address does not keep the mail from the others.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import aiosmtplib

from cmc_notify.errors import ConfigError
from cmc_notify.net import client_context
from cmc_notify.sinks.email.reply_codes import PERMANENT, TRANSIENT
from cmc_notify.sinks.email.settings import EmailSettings

_QUIT_TIMEOUT = 1.0
"""Seconds that a server gets to reply to QUIT."""


@dataclass
class MailTransfer:
    """The progress of one mail: recipients with the server's replies, and whether the mail was written."""

    accepted: dict[str, str] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    written: bool = False
    """True while the mail may have arrived without the sink's knowledge."""


class SmtpSession:
    """One connection to the server, for one mail. ``close`` must end it."""

    def __init__(self, settings: EmailSettings) -> None:
        self.transfer = MailTransfer()
        self._settings = settings
        self._client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            timeout=settings.timeout,
            use_tls=settings.tls.mode == "tls",
            start_tls=False,
        )

    async def open(self) -> None:
        """Connect, start TLS, sign in. Raises ConfigError, OSError and aiosmtplib's errors."""
        client, settings, tls = self._client, self._settings, self._settings.tls
        context = None if tls.mode == "none" else client_context(tls)
        await client.connect(tls_context=context)
        await client.ehlo()
        if tls.mode == "starttls":
            if not client.supports_extension("starttls"):
                raise ConfigError("tls: the server offers no STARTTLS; set tls to tls or none")
            await client.starttls(tls_context=context)
        if tls.mode != "none" and tls.fingerprint is not None:
            self._check_pin(tls.fingerprint)
        if settings.username is not None and settings.password is not None:
            await client.login(settings.username, settings.password.get_secret_value())

    async def name_recipients(self, recipients: Sequence[str]) -> Sequence[str]:
        """Name sender and recipients. Returns the recipients for whom the server will accept a mail."""
        await self._client.mail(self._settings.sender.addr_spec)
        accepted = []
        for recipient in recipients:
            try:
                await self._client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                group = self.transfer.refused if error.code in PERMANENT else self.transfer.later
                group[recipient] = f"{error.code} {error.message}"
            else:
                accepted.append(recipient)
        return accepted

    async def send_mail(self, mail: bytes, recipients: Sequence[str]) -> None:
        """Send the mail to ``recipients``, whom the server accepted."""
        transfer = self.transfer
        # A loss before the server's go-ahead also counts as written: a copy under the same Message-ID does
        # less harm than a missing mail.
        transfer.written = True
        try:
            reply = await self._client.data(mail)
        except aiosmtplib.SMTPDataError as error:
            transfer.written = error.code not in TRANSIENT and error.code not in PERMANENT
            raise
        transfer.written = False
        transfer.accepted.update(dict.fromkeys(recipients, f"{reply.code} {reply.message}"))

    async def close(self, *, with_quit: bool) -> None:
        """End the connection. Without ``with_quit`` nothing more is written, not even buffered data."""
        client = self._client
        if with_quit and client.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=_QUIT_TIMEOUT)
        if not with_quit and isinstance(client.transport, asyncio.WriteTransport):
            client.transport.abort()
        client.close()

    def _check_pin(self, pin: bytes) -> None:
        found = self._client.get_transport_info("ssl_object").getpeercert(binary_form=True)
        digest = hashlib.sha256(found).digest()
        if digest != pin:
            raise ssl.SSLCertVerificationError(f"its SHA-256 is {digest.hex()}, not the pinned one")
