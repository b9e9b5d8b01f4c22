"""A message within one service's limits: whole; else brief, with the complete list as a file where the
service takes files; else as much as fits, with the number of what is missing and the link.

Guarantee: Apprise is never given more than the service takes, so that neither of them cuts anything. Lengths
are counted in UTF-8 bytes, the strictest of what a service may mean by them, of the text as Apprise converts
it for the service.
"""

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Renderer
from cmc_notify.sinks.fewer_failures import fit_failures, fit_with_short_texts

if TYPE_CHECKING:
    from apprise import NotifyBase

LARGEST_FILE = 6_000_000
"""Bytes: coded for a mail or for JSON some 8 MB, which most services take."""
_AROUND_TITLE = 24
"""Bytes that Apprise may write around a title which it puts into the body, such as tags."""
_SPACE = "\u200b"
_PING = re.compile(r"@(?=(?:everyone|here|channel|all|room|team)\b)|<(?=[@!#])")


class FittedMessage(Struct, frozen=True):
    """What is handed to Apprise. ``file`` is the complete list, where it goes along."""

    title: str
    body: str
    file: bytes | None = None
    name: str | None = None


def fit_message(message: Message, renderer: Renderer, service: "NotifyBase") -> FittedMessage:
    """The message as this service gets it."""

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
    """The text with nothing in it that a chat takes for a mention of everybody: Apprise's plugins hand it
    on as it is. A zero-width space, which nobody sees, parts ``@`` and ``everyone``.
    """
    return _PING.sub(lambda found: found[0] + _SPACE, text)


def _listed(renderer: Renderer, message: Message) -> bytes:
    text = renderer.render("apprise", "txt", message).text.strip()
    return f"{text}\n".encode("utf-8", "replace")


def _title(text: str, service: "NotifyBase") -> str:
    """One line, within the service's limit; where it takes no title, Apprise puts this above the body."""
    line = without_mentions(" ".join(visible(text).split()))
    most = service.title_maxlen if service.title_maxlen > 0 else max(service.body_maxlen // 4, 1)
    return _cut(line, most)


def _cut(line: str, most: int) -> str:
    """At most ``most`` bytes, with a sign where it was cut."""
    data = line.encode("utf-8", "replace")
    return line if len(data) <= most else data[: max(most - 3, 0)].decode("utf-8", "ignore") + "…"


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
    if len(body) > room:  # what is too long already is not converted first
        return False
    converted = convert_between(NotifyFormat.TEXT, form, body)
    final = service.dialect_convert(converted, form)
    return max(len(made.encode("utf-8", "replace")) for made in (converted, final)) <= room


def _count_and_link(message: Message, title: str, service: "NotifyBase") -> str:
    """Where not even the facts fit: how many failures there are, and where."""
    event = message.event
    number = len(event.failures) + event.failures_omitted
    missing = f"{number:,} {'failure' if number == 1 else 'failures'}" if number else "The details"
    said = f"{missing} did not fit into this message"
    for line in (f"{said}: {event.url}", f"{missing}: {event.url}", said, missing):
        if (event.url or "None" not in line) and _fits(service, title, line):
            return line
    return _cut(missing, max(service.body_maxlen - len(title.encode()) - _AROUND_TITLE, 1))
