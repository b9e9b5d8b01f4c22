"""The talk with the mail server (RFC 5321).

One transaction carries a mail to all who wait for it. The server answers for each of them, and one bad
address keeps nobody else from reading it.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import aiosmtplib

from cmc_notify.errors import ConfigError
from cmc_notify.sinks.email.reply_codes import PERMANENT, TRANSIENT
from cmc_notify.sinks.email.settings import EmailSettings
from cmc_notify.sinks.http import ssl_context

_PATIENCE = 1.0
"""Seconds that a server has to say goodbye."""


@dataclass
class Transfer:
    """How far one mail came: recipients with the server's answers, and whether the mail was written."""

    accepted: dict[str, str] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    written: bool = False
    """Set while the mail may have arrived without our knowing."""


class Conversation:
    """One connection to the server, for one mail. ``leave`` must end it."""

    def __init__(self, settings: EmailSettings) -> None:
        self.transfer = Transfer()
        self._settings = settings
        self._client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            timeout=settings.timeout,
            use_tls=settings.tls.mode == "tls",
            start_tls=False,
        )

    async def open(self) -> None:
        """Connect, secure, sign in. Raises ConfigError, what aiosmtplib raises, and OSError."""
        client, settings, tls = self._client, self._settings, self._settings.tls
        context = None if tls.mode == "none" else ssl_context(tls)
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

    async def announce(self, recipients: Sequence[str]) -> Sequence[str]:
        """Name sender and recipients; returns those for whom the server will take a mail."""
        await self._client.mail(self._settings.sender.addr_spec)
        taken = []
        for recipient in recipients:
            try:
                await self._client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                among = self.transfer.refused if error.code in PERMANENT else self.transfer.later
                among[recipient] = f"{error.code} {error.message}"
            else:
                taken.append(recipient)
        return taken

    async def hand_over(self, mail: bytes, recipients: Sequence[str]) -> None:
        """Send the mail to ``recipients``, who were announced and taken."""
        transfer = self.transfer
        # What is lost before the server's go-ahead counts as written too: a copy under the same Message-ID
        # does less harm than a missing mail.
        transfer.written = True
        try:
            answer = await self._client.data(mail)
        except aiosmtplib.SMTPDataError as error:
            transfer.written = error.code not in TRANSIENT and error.code not in PERMANENT
            raise
        transfer.written = False
        transfer.accepted.update(dict.fromkeys(recipients, f"{answer.code} {answer.message}"))

    async def leave(self, *, politely: bool) -> None:
        """End the connection; without ``politely`` nothing more is written, not even what is buffered."""
        client = self._client
        if politely and client.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=_PATIENCE)
        if not politely and isinstance(client.transport, asyncio.WriteTransport):
            client.transport.abort()
        client.close()

    def _check_pin(self, pin: bytes) -> None:
        found = self._client.get_transport_info("ssl_object").getpeercert(binary_form=True)
        digest = hashlib.sha256(found).digest()
        if digest != pin:
            raise ssl.SSLCertVerificationError(f"its SHA-256 is {digest.hex()}, not the pinned one")
