"""What comes of a mail, recipient by recipient.

A recipient who was served is recorded as a part (``rcpt:ADDRESS``) and gets no second copy. While the server
puts any off, the delivery is retried for them. A recipient whom it refuses for good does not hold up the
others: once all others are served the delivery is sent, its receipt and the log name the refused one; it
is rejected where nobody was served at all.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiosmtplib
import structlog

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.errors import ConfigError
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.sinks.email.composer import LARGEST_MAIL, compose, preview_parts
from cmc_notify.sinks.email.reply_codes import from_error
from cmc_notify.sinks.email.settings import EmailSettings
from cmc_notify.sinks.email.smtp_session import MailTransfer, SmtpSession
from cmc_notify.sinks.fewer_failures import fit_failures, fit_failures_in_thread
from cmc_notify.sinks.outcomes import safe

_CANCELLED = Unclear("cancelled")
_TOO_LARGE = f"the mail is larger than {LARGEST_MAIL} bytes without any failure in it"
_log = structlog.stdlib.get_logger(__name__)


class EmailSink:
    """Opens a connection for each mail. Safe to use from several tasks."""

    def __init__(self, name: str, settings: EmailSettings, renderer: Renderer) -> None:
        self._name = name
        self._settings = settings
        self._renderer = renderer
        password = settings.password.get_secret_value() if settings.password else ""
        self._secrets = [password, f"\0{settings.username}\0{password}"]  # the latter as AUTH PLAIN sends it

    @property
    def name(self) -> str:
        """Its name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """One mail to all who have not got it yet."""
        served = {part.removeprefix("rcpt:") for part in message.parts}
        waiting = [recipient for recipient in self._settings.recipients if recipient not in served]
        if not waiting:
            return Sent()
        mail = await fit_failures_in_thread(message, self._composer(), LARGEST_MAIL)
        if mail is None:
            return Rejected(_TOO_LARGE)
        session = SmtpSession(self._settings)
        trouble: SendOutcome | None = _CANCELLED
        try:
            trouble = await self._converse(session, waiting, mail)
            for recipient, reply in session.transfer.accepted.items():
                await record(f"rcpt:{recipient}", safe(reply, self._secrets))
        finally:
            await session.close(with_quit=trouble is None)
        return trouble or self._outcome(session.transfer, served_before=bool(served))

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """The mail as it would go over the wire, and its parts as a reader sees them."""
        content = fit_failures(message, self._composer(), LARGEST_MAIL)
        if content is None:
            return [PreviewDocument("mail.txt", _TOO_LARGE)]
        return [*preview_parts(content), PreviewDocument("mail.eml", content.decode("ascii", "replace"))]

    async def probe(self) -> SendOutcome:
        """Sign in and name sender and recipients, then leave without a mail."""
        session = SmtpSession(self._settings)
        trouble: SendOutcome | None = _CANCELLED
        try:
            trouble = await self._converse(session, self._settings.recipients, None)
        finally:
            await session.close(with_quit=trouble is None)
        if trouble:
            return trouble
        refused, later = self._listed(session.transfer.refused), self._listed(session.transfer.later)
        if len(session.transfer.refused) + len(session.transfer.later) < len(self._settings.recipients):
            return Sent(f"refused: {refused}" if refused else None)
        return RetryLater(f"put off: {later}") if later else Blocked(f"refused: {refused}")

    def _composer(self) -> Callable[[Message], bytes]:
        now = datetime.now(UTC)
        return lambda shown: compose(shown, self._settings, self._renderer, date=now, limit=LARGEST_MAIL)

    async def _converse(
        self, session: SmtpSession, recipients: Sequence[str], mail: bytes | None
    ) -> SendOutcome | None:
        """Talk to the server, to the end of handing over ``mail`` if there is one; None if all went well."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                await session.open()
                taken = await session.name_recipients(recipients)
                if taken and mail is not None:
                    await session.send_mail(mail, taken)
        except (aiosmtplib.SMTPException, OSError, ConfigError) as error:
            return from_error(error, written=session.transfer.written, secrets=self._secrets)
        return None

    async def close(self) -> None:
        """Nothing to release: each mail's connection ended with it."""

    def _outcome(self, transfer: MailTransfer, *, served_before: bool) -> SendOutcome:
        refused = self._listed(transfer.refused)
        if transfer.later:
            also = f"; refused: {refused}" if refused else ""
            return RetryLater(f"put off: {self._listed(transfer.later)}{also}")
        if not transfer.accepted and not served_before:
            return Rejected(f"refused: {refused}")
        if refused:
            _log.warning("recipients refused", sink=self._name, refused=refused)
        answers = ", ".join(sorted(set(transfer.accepted.values())))
        receipt = "; ".join(filter(None, (answers, f"refused: {refused}" if refused else "")))
        return Sent(safe(receipt, self._secrets) or None)

    def _listed(self, answers: Mapping[str, str]) -> str:
        return safe(", ".join(f"{who} ({reply})" for who, reply in answers.items()), self._secrets)


def build(name: str, settings: Any, renderer: Renderer) -> EmailSink:
    """The sink of these settings; nothing is opened before the first message."""
    return EmailSink(name, settings, renderer)
