"""The messages for an event: a job's card, one message, a short one with files, or continued ones.

Guarantee: every failure's text is in the messages, or the last one says how many more there are and where.
The parts of one message are cut at the same places on every attempt, so that parts which were accepted before
hold the same failures.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec
from msgspec import Struct

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import Event
from cmc_notify.core.grouping import group_failures
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, PreviewDocument, Renderer
from cmc_notify.sinks.fewer_failures import with_failures
from cmc_notify.sinks.slack.layout import ROOM, Layout, cut_markup, lay_out
from cmc_notify.sinks.slack.limits import Block, Payload

SNIPPET = 1_000_000
"""Bytes of one file; Slack shows text files up to 1 MB."""
MOST_CONTINUED = 10
_MOST_RENDERINGS = 8
_NOTIFICATION_CAUSES = 3
_NOTIFICATION_TEXT = 150
"""Characters of a feature's name and of an error in the notification."""
_NOTIFICATION_ROOM = 500
"""Characters of each after escaping, which makes five of ``&``.

Three errors and the longest headline stay below the 4,000 of a notification.
"""


class File(Struct, frozen=True):
    """One file of the complete list. Its ``title`` ends with ``mark``, by which it is found again."""

    name: str
    title: str
    mark: str
    content: bytes


class Composer:
    """Renders one message for Slack."""

    def __init__(self, renderer: Renderer, message: Message, buttons: Sequence[Block] = ()) -> None:
        """``buttons`` are under the job's card."""
        # A possible repeat is marked when it is posted. A mark in the text would move the cuts.
        self._message = msgspec.structs.replace(message, unclear=False, parts={}, attempt=1)
        self._renderer = renderer
        self._buttons = [*buttons]

    def card(self) -> Payload:
        """Return the card: the job's present state, with as many of its failures as one message holds."""
        text = self._renderer.render("slack", "card", self._message, brief=True).text
        event = self._message.event
        has_thread = self._message.purpose is not Purpose.FOLLOW
        notice = "This is not all: the thread has the whole." if has_thread else "This is not all."
        if event.url or not has_thread:
            notice += f" {_link(event)}"
        spare = len(json.dumps(self._buttons).encode())
        payload = lay_out(text, most=1, notice=notice, spare=spare).messages[0]
        return {
            "text": _notification_text(payload["text"], event),
            "blocks": [*payload["blocks"], *self._buttons],
        }

    def whole(self) -> Payload | None:
        """Return the message; None if one message can't hold it."""
        layout = lay_out(self._text(self._message), most=1)
        return layout.messages[0] if layout.complete else None

    def brief(self) -> Payload:
        """Return a short message for the channel; the complete list follows in its thread."""
        text = self._renderer.render("slack", "mrkdwn", self._message, brief=True).text
        notice = "This is not all: the complete list follows in the thread."
        return lay_out(text, most=1, notice=notice).messages[0]

    def files(self) -> tuple[File, ...]:
        """Return the complete list, in as many files as it needs."""
        text = self._renderer.render("slack", "txt", self._message).text
        contents = list(_pieces(text))
        total = len(contents)
        job = self._message.event.job
        subject = f"job-{job.id}" if job else str(self._message.event.type)
        return tuple(
            File(
                name=f"failures-{subject}-{number}-of-{total}.txt",
                title=f"Complete list for {subject} ({number}/{total}) [{self._message.key}#{number}]",
                mark=f"[{self._message.key}#{number}]",
                content=content,
            )
            for number, content in enumerate(contents, start=1)
        )

    def continued(self) -> tuple[Payload, ...]:
        """Return at most ten messages; if that is too few, the last one says how much is missing."""
        layout = lay_out(self._text(self._message), most=MOST_CONTINUED)
        if layout.complete:
            return layout.messages
        event = self._message.event
        total = len(event.failures) or len(event.recoveries)
        shown = self._most_that_fit(total) if total else None
        if shown is not None:
            return shown
        # The text is too long for a reason other than the number of failures.
        said = f"The text is cut off here: {_count_left(event, 0)} in all. {_link(event)}"
        return lay_out(self._text(self._message), most=MOST_CONTINUED, notice=said).messages

    def preview_card(self) -> PreviewDocument:
        """Return the card."""
        return _preview_document("card.json", self.card())

    def preview(self, name: str, *, files: bool) -> Iterator[PreviewDocument]:
        """Return everything that is posted except the card.

        ``files`` says whether a long list follows as files in the thread. The documents are named by
        ``name``.
        """
        whole = self.whole()
        split = (self.brief(),) if files else self.continued()
        payloads = (whole,) if whole else split
        for number, payload in enumerate(payloads, start=1):
            yield _preview_document(
                f"{name}.json" if len(payloads) == 1 else f"{name}-{number}.json", payload
            )
        if whole is None and files:
            for file in self.files():
                yield PreviewDocument(file.name, file.content.decode("utf-8", "replace"))

    def _most_that_fit(self, total: int) -> tuple[Payload, ...] | None:
        """Return the messages with about as many of ``total`` failures as fit; None if none fits."""
        found: tuple[Payload, ...] | None = None
        low, high, keep = 0, total, min(_estimate(self._message.event), total - 1)
        for _ in range(_MOST_RENDERINGS):
            layout = self._with_first(max(keep, 0))
            if layout.complete:
                found, low = layout.messages, keep
            else:
                high = keep
            if high - low <= max(1, low // 20):
                break
            keep = min(low * 2, (low + high) // 2) if low else (low + high) // 2
        if found is None and (layout := self._with_first(0)).complete:
            found = layout.messages
        return found

    def _with_first(self, keep: int) -> Layout:
        """Lay out the first ``keep`` failures; the last message counts the others."""
        more, text = _count_left(self._message.event, keep), self._text(_first(self._message, keep))
        layout = lay_out(text, most=MOST_CONTINUED)
        if not layout.complete or more.strip("*") in str(layout.messages[-1]["blocks"]):
            return layout
        verb = "is" if more.endswith(("failure*", "recovery*")) else "are"
        notice = f"{more} {verb} not in these messages. {_link(self._message.event)}"
        return lay_out(f"{text}\n{notice}", most=MOST_CONTINUED)

    def _text(self, message: Message) -> str:
        return self._renderer.render("slack", "mrkdwn", message).text


def _preview_document(name: str, payload: Payload) -> PreviewDocument:
    return PreviewDocument(name, json.dumps(payload, indent=2, ensure_ascii=False) + "\n")


def _notification_text(headline: str, event: Event) -> str:
    """Return the text of notifications and screen readers, which replaces all blocks.

    It is the headline and the most frequent errors, each with the number of its appliances.
    """
    causes = (
        f"{len(group.members):,} \u00d7 {_plain(group.feature or '?')}: {_plain(group.error_text or '?')}"
        for group in group_failures(event.failures)[:_NOTIFICATION_CAUSES]
    )
    return "\n".join([headline, *causes])


def _plain(text: str) -> str:
    """Return the beginning of a text on one line, escaped, so that Slack sees no markup."""
    line = " ".join(visible(text[: 2 * _NOTIFICATION_TEXT]).split())
    brief = line if len(line) <= _NOTIFICATION_TEXT else f"{line[:_NOTIFICATION_TEXT]}…"
    escaped = brief.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return cut_markup(escaped, _NOTIFICATION_ROOM)


def _first(message: Message, keep: int) -> Message:
    if message.event.failures:
        return with_failures(message, keep)
    event = msgspec.structs.replace(message.event, recoveries=message.event.recoveries[:keep])
    return msgspec.structs.replace(message, event=event)


def _count_left(event: Event, shown: int) -> str:
    """Return how many failures (or recoveries) there are after the first ``shown``."""
    if event.failures:
        left, noun = event.failures_omitted + len(event.failures) - shown, "failure"
    else:
        left, noun = len(event.recoveries) - shown, "recovery"
    more = " more" if shown else ""
    return (
        f"*{left:,}{more} {noun if left == 1 else {'failure': 'failures', 'recovery': 'recoveries'}[noun]}*"
    )


def _link(event: Event) -> str:
    if event.url is None:
        return "There is no page to link to (http.external_url is not set); `cmc-notify failures` lists them."
    url = event.url
    for character, code in (("&", "&amp;"), ("<", "%3C"), (">", "%3E"), ("|", "%7C")):
        url = url.replace(character, code)
    return f"<{url}|The complete list>."


def _estimate(event: Event) -> int:
    """Return how many failures fill the messages if each has its own text."""
    texts = (failure.error_text or "" for failure in event.failures)
    sizes = accumulate(len(text.encode("utf-8", "replace")) + 100 for text in texts)
    room = MOST_CONTINUED * ROOM
    return sum(1 for size in sizes if size <= room) or len(event.recoveries) // 2


def _pieces(text: str) -> Iterator[bytes]:
    """Split the text into pieces of at most a file's size, at line breaks or inside an over-long line."""
    data = text.encode("utf-8", "replace") or b"\n"
    start = 0
    while len(data) - start > SNIPPET:
        end = start + SNIPPET
        cut = data.rfind(b"\n", start, end) + 1
        if cut == 0:
            cut = end
            while data[cut] & 0xC0 == 0x80:  # noqa: PLR2004  UTF-8: a continuation byte
                cut -= 1
        yield data[start:cut]
        start = cut
    yield data[start:]
