"""A message within one service's limits.

It is whole if it fits; else brief, with the complete list as a file if the service takes files; else with as
many failures as fit, the number of the missing ones and the link.

Guarantee: Apprise never gets more than the service takes, so neither of them cuts anything. Lengths are in
UTF-8 bytes, the strictest reading of a service's limit, of the text as Apprise converts it for the service.
"""

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Renderer
from cmc_notify.sinks.fewer_failures import fit_failures, fit_with_short_texts
from cmc_notify.sinks.shorter_text import cut_text, utf8_bytes

if TYPE_CHECKING:
    from apprise import NotifyBase

LARGEST_FILE = 6_000_000
"""Bytes. Encoded for a mail or for JSON it is some 8 MB, which most services take."""
_AROUND_TITLE = 24
"""Bytes that Apprise may add around a title that it puts into the body, such as tags."""
_SPACE = "\u200b"
_PING = re.compile(r"@(?=(?:everyone|here|channel|all|room|team)\b)|<(?=[@!#])")


class FittedMessage(Struct, frozen=True):
    """The input of Apprise. ``file`` is the complete list, if it is attached."""

    title: str
    body: str
    file: bytes | None = None
    name: str | None = None


def fit_message(message: Message, renderer: Renderer, service: "NotifyBase") -> FittedMessage:
    """Return the message within the service's limits."""

    def text(shown: Message, *, brief: bool = False) -> str:
        return without_mentions(renderer.render("apprise", "txt", shown, brief=brief).text).strip()

    title = _title(renderer.render("apprise", "subject", message).text, service)
    whole = text(message)
    if _fits(service, title, whole):
        return FittedMessage(title, whole)
    attach = bool(service.attachment_support)
    body = fit_with_short_texts(
        message, lambda shown: text(shown, brief=attach), lambda made: _fits(service, title, made)
    )
    if body is None:
        body = _count_and_link(message, title, service)
    if not attach:
        return FittedMessage(title, body)
    file = fit_failures(message, lambda shown: _listed(renderer, shown), LARGEST_FILE)
    job = message.event.job
    name = f"failures-job-{job.id}.txt" if job else f"{message.event.type}.txt"
    return FittedMessage(title, body, file, name if file is not None else None)


def without_mentions(text: str) -> str:
    """Return the text without mentions of everybody: Apprise's plugins pass it on as it is.

    A zero-width space, which nobody sees, separates ``@`` and ``everyone``.
    """
    return _PING.sub(lambda found: found[0] + _SPACE, text)


def _listed(renderer: Renderer, message: Message) -> bytes:
    text = renderer.render("apprise", "txt", message).text.strip()
    return f"{text}\n".encode("utf-8", "replace")


def _title(text: str, service: "NotifyBase") -> str:
    """Return one line within the service's limit. If it takes no title, Apprise puts this above the body."""
    line = without_mentions(" ".join(visible(text).split()))
    most = service.title_maxlen if service.title_maxlen > 0 else max(service.body_maxlen // 4, 1)
    return cut_text(line, most, utf8_bytes)


def _fits(service: "NotifyBase", title: str, body: str) -> bool:
    from apprise import NotifyFormat  # noqa: PLC0415  an optional extra
    from apprise.conversion import convert_between  # noqa: PLC0415  an optional extra

    form = service.resolve_format(NotifyFormat.TEXT)
    room = service.body_maxlen
    lines = body.count("\n") + 1
    if title and (service.title_maxlen <= 0 or service.overflow_amalgamate_title):
        above = convert_between(NotifyFormat.TEXT, form, title) if service.title_maxlen <= 0 else title
        room -= len(above.encode("utf-8", "replace")) + _AROUND_TITLE
        lines += 1
    most_lines = service.body_max_line_count
    if most_lines > 0 and lines > most_lines:
        return False
    if len(body) > room:  # too long before the conversion
        return False
    converted = convert_between(NotifyFormat.TEXT, form, body)
    final = service.dialect_convert(converted, form)
    return max(len(made.encode("utf-8", "replace")) for made in (converted, final)) <= room


def _count_and_link(message: Message, title: str, service: "NotifyBase") -> str:
    """Return the number of failures and the link, if not even a short message fits."""
    event = message.event
    number = len(event.failures) + event.failures_omitted
    missing = f"{number:,} {'failure' if number == 1 else 'failures'}" if number else "The details"
    said = f"{missing} did not fit into this message"
    for line in (f"{said}: {event.url}", f"{missing}: {event.url}", said, missing):
        if (event.url or "None" not in line) and _fits(service, title, line):
            return line
    room = max(service.body_maxlen - len(title.encode()) - _AROUND_TITLE, 1)
    return cut_text(missing, room, utf8_bytes)
