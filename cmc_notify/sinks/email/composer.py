"""An event as a mail: text and HTML, both complete; brief with the whole list attached if they are too large.

More than a screenful of failures is also attached as a table, if there is room. Pure except for the renderer.
No header contains a line break, and every line is 7-bit ASCII of at most 998 bytes (RFC 5322), whatever the
texts contain.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes, policy
from email.header import Header
from email.message import EmailMessage
from typing import Any

from typing_extensions import override

from cmc_notify.core.events import Event
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, PreviewDocument, Renderer
from cmc_notify.sinks.email.settings import EmailSettings
from cmc_notify.sinks.email.table import SCREENFUL, failure_table
from cmc_notify.sinks.email.thread import thread, thread_index
from cmc_notify.sinks.shorter_text import cut_text

LARGEST_BODY = 100_000
"""Bytes of the text or of the HTML; mail readers cut longer ones off."""
LARGEST_MAIL = 10_000_000
"""Bytes of the whole mail, as sent; many servers refuse more."""
LONGEST_SUBJECT = 250
_BASE64 = 4 / 3
"""Bytes as sent for each byte of an attachment, at least."""
_ENCODED_LINE = 76
"""Characters of a line with encoded words (RFC 2047)."""


class _Policy(policy.EmailPolicy):
    """Writes subjects so that readers show them unchanged.

    Before a text of some 70 characters the email package leaves a line with the name alone: readers that do
    not trim show and filter it with a leading space. It also loses spaces between words that are not ASCII.
    """

    @override
    def fold_binary(self, name: str, value: Any) -> bytes:
        text = str(value)
        if name == "Subject" and not text.isascii():
            encoded = Header(text, "utf-8", maxlinelen=_ENCODED_LINE, header_name=name).encode(linesep="\r\n")
            return f"{name}: {encoded}\r\n".encode()
        folded = super().fold_binary(name, value)
        begin, _, rest = folded.partition(b"\r\n ")
        plain = begin == f"{name}:".encode() and b"=?" not in rest.partition(b"\r\n")[0]
        return begin + b" " + rest if plain else folded


_POLICY = _Policy(cte_type="7bit", linesep="\r\n")


def compose(
    message: Message,
    settings: EmailSettings,
    renderer: Renderer,
    *,
    date: datetime,
    limit: int = LARGEST_MAIL,
) -> bytes:
    """Return the whole mail as it is sent. ``date`` is that of the attempt, with its zone.

    The mail may be larger than ``limit`` bytes; the table is left out rather than exceed it.
    """
    mail = EmailMessage(policy=_POLICY)
    extension = "subject" if settings.subject_per == "event" else "topic"
    mail["Subject"] = _subject(renderer.render("email", extension, message).text)
    mail["From"] = settings.sender
    mail["To"] = settings.to
    if settings.cc:
        mail["Cc"] = settings.cc
    if settings.reply_to:
        mail["Reply-To"] = settings.reply_to
    mail["Date"] = date
    _add_headers(mail, message, settings.sender.domain, date)
    _add_bodies(mail, message, renderer)
    return _with_table(mail, message, limit)


def preview_parts(content: bytes) -> Iterator[PreviewDocument]:
    """Yield a composed mail's headers, texts and attachments, decoded."""
    mail = message_from_bytes(content, policy=policy.default)
    yield PreviewDocument("headers.txt", "".join(f"{name}: {value}\n" for name, value in mail.items()))
    for part in mail.walk():
        if not part.is_multipart():
            file = part.get_filename()
            kind = "html" if part.get_content_subtype() == "html" else "txt"
            text = part.get_content()
            yield PreviewDocument(file or f"body.{kind}", text if file else text.replace("\r\n", "\n"))


def _subject(text: str) -> str:
    """Return one line. A zero-width space separates ``=?``.

    The email package decodes ``=?utf-8?q?=0d=0a…?=`` wherever it finds it, and writes the line break, with
    the header that follows it, into the mail.
    """
    line = " ".join(visible(_encodable(text)).split()).replace("=?", "=\u200b?")
    return cut_text(line, LONGEST_SUBJECT, len)


def _add_headers(mail: EmailMessage, message: Message, domain: str, date: datetime) -> None:
    """Add the headers to drop a second copy, thread a job's mails, sort them, and prevent replies."""
    event = message.event
    root = f"<{thread(message)}@{domain}>"
    controller = _token(event.controller or "bridge")
    mail["Message-ID"] = f"<{_token(message.key)}@{domain}>"
    mail["In-Reply-To"] = root
    mail["References"] = root
    mail["Thread-Index"] = thread_index(message, date)
    mail["List-Id"] = f"cmc-notify {controller} <{controller}.cmc-notify.{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"  # Exchange obeys this one instead
    mail["X-Cmc-Notify-Event"] = event.type.value
    mail["X-Cmc-Notify-Severity"] = event.severity


def _add_bodies(mail: EmailMessage, message: Message, renderer: Renderer) -> None:
    text = renderer.render("email", "txt", message).text
    page = "" if _too_long(text) else renderer.render("email", "html", message).text
    attached = None
    if _too_long(text) or _too_long(page):
        attached = text
        text = renderer.render("email", "txt", message, brief=True).text
        page = renderer.render("email", "html", message, brief=True).text
    mail.set_content(_encodable(text), cte="quoted-printable")
    mail.add_alternative(_encodable(page), subtype="html", cte="quoted-printable")
    if attached is not None:
        _attach(mail, message, attached)


def _with_table(mail: EmailMessage, message: Message, limit: int) -> bytes:
    without = mail.as_bytes()
    if len(message.event.failures) <= SCREENFUL:
        return without
    table = failure_table(message.event)
    if len(without) + len(table) * _BASE64 > limit:
        return without
    omitted = message.event.failures_omitted
    mail.add_attachment(
        table,
        maintype="text",
        subtype="csv",
        # A table has no place for a remark, and nobody should mistake a part for the whole.
        filename=f"{_list_name(message.event)}{'-incomplete' if omitted else ''}.csv",
        params={"charset": "utf-8", "header": "present"},
    )
    whole = mail.as_bytes()
    return whole if len(whole) <= limit else without


def _list_name(event: Event) -> str:
    return f"failures-job-{event.job.id}" if event.job else _token(event.type)


def _attach(mail: EmailMessage, message: Message, text: str) -> None:
    mail.add_attachment(
        _encodable(text + _omission_note(message)).encode(),
        maintype="text",
        subtype="plain",
        filename=f"{_list_name(message.event)}.txt",
        params={"charset": "utf-8"},
    )


def _omission_note(message: Message) -> str:
    """Return the last line of a list that was shortened for the mail's size, whatever the template says."""
    event = message.event
    if not event.failures_omitted:
        return "\n"
    total = event.failures_omitted + len(event.failures)
    place = f"All of them: {event.url}" if event.url else "There is no link to them: external_url is not set."
    return f"\n\n{event.failures_omitted} of {total} failures are not in this file, for its size. {place}\n"


def _too_long(text: str) -> bool:
    return len(text) > LARGEST_BODY or len(text.encode("utf-8", "replace")) > LARGEST_BODY


def _encodable(text: str) -> str:
    """Return the text without lone surrogates, which no charset has."""
    return text.encode("utf-8", "replace").decode()


def _token(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)
