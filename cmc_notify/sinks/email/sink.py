"""The email sink: the outcome of a mail, recipient by recipient.

A recipient for whom the server accepted the mail is recorded as a part (``rcpt:ADDRESS``) and gets no second
copy. While the server defers any, the delivery is retried for them. A recipient whom it refuses for good does
not delay the others: once the server accepted all others, the delivery is sent, and its receipt and the log
name the refused one. The delivery is rejected if every recipient was refused.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiosmtplib
import structlog

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.errors import ConfigError
from cmc_notify.net import safe
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.sinks.email.composer import LARGEST_MAIL, compose, preview_parts
from cmc_notify.sinks.email.reply_codes import from_error
from cmc_notify.sinks.email.settings import EmailSettings
from cmc_notify.sinks.email.smtp_session import MailTransfer, SmtpSession
from cmc_notify.sinks.fewer_failures import fit_failures, fit_failures_in_thread

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
        self._secrets = [password, f"\0{settings.username}\0{password}"]  # AUTH PLAIN sends the latter

    @property
    def name(self) -> str:
        """The sink's name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Send one mail to all who do not have it yet."""
        served = {part.removeprefix("rcpt:") for part in message.parts}
        waiting = [recipient for recipient in self._settings.recipients if recipient not in served]
        if not waiting:
            return Sent()
        mail = await fit_failures_in_thread(message, self._composer(), LARGEST_MAIL)
        if mail is None:
            return Rejected(_TOO_LARGE)
        session = SmtpSession(self._settings)
        failure: SendOutcome | None = _CANCELLED
        try:
            failure = await self._converse(session, waiting, mail)
            for recipient, reply in session.transfer.accepted.items():
                await record(f"rcpt:{recipient}", safe(reply, self._secrets))
        finally:
            await session.close(with_quit=failure is None)
        return failure or self._outcome(session.transfer, served_before=bool(served))

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """Return the mail as it would be sent, and its parts as a reader sees them."""
        content = fit_failures(message, self._composer(), LARGEST_MAIL)
        if content is None:
            return [PreviewDocument("mail.txt", _TOO_LARGE)]
        return [*preview_parts(content), PreviewDocument("mail.eml", content.decode("ascii", "replace"))]

    async def probe(self) -> SendOutcome:
        """Sign in and name sender and recipients, then leave without a mail."""
        session = SmtpSession(self._settings)
        failure: SendOutcome | None = _CANCELLED
        try:
            failure = await self._converse(session, self._settings.recipients, None)
        finally:
            await session.close(with_quit=failure is None)
        if failure:
            return failure
        refused, later = self._listed(session.transfer.refused), self._listed(session.transfer.later)
        if len(session.transfer.refused) + len(session.transfer.later) < len(self._settings.recipients):
            return Sent(f"refused: {refused}" if refused else None)
        return RetryLater(f"deferred: {later}") if later else Blocked(f"refused: {refused}")

    def _composer(self) -> Callable[[Message], bytes]:
        now = datetime.now(UTC)
        return lambda shown: compose(shown, self._settings, self._renderer, date=now, limit=LARGEST_MAIL)

    async def _converse(
        self, session: SmtpSession, recipients: Sequence[str], mail: bytes | None
    ) -> SendOutcome | None:
        """Run the session, until ``mail`` is accepted if there is one. Returns None for success."""
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
        """Do nothing: each mail's connection ended with it."""

    def _outcome(self, transfer: MailTransfer, *, served_before: bool) -> SendOutcome:
        refused = self._listed(transfer.refused)
        if transfer.later:
            also = f"; refused: {refused}" if refused else ""
            return RetryLater(f"deferred: {self._listed(transfer.later)}{also}")
        if not transfer.accepted and not served_before:
            return Rejected(f"refused: {refused}")
        if refused:
            _log.warning("email.recipients_refused", sink=self._name, refused=refused)
        answers = ", ".join(sorted(set(transfer.accepted.values())))
        receipt = "; ".join(filter(None, (answers, f"refused: {refused}" if refused else "")))
        return Sent(safe(receipt, self._secrets) or None)

    def _listed(self, answers: Mapping[str, str]) -> str:
        return safe(", ".join(f"{who} ({reply})" for who, reply in answers.items()), self._secrets)


def build(name: str, settings: Any, renderer: Renderer) -> EmailSink:
    """Build the sink. It opens nothing before the first message."""
    return EmailSink(name, settings, renderer)
