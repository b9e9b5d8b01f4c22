"""Texts within a receiver's limit, for receivers that take no attachment.

Guarantee: a text is within the limit, in the unit that the caller counts by, and is cut only between
characters. A text that is not whole says so, with the link to the whole if there is one.

``render_within`` renders a template with less and less room; ``cut_text`` cuts characters off the end.
"""

from collections.abc import Callable

import msgspec

from cmc_notify.core.grouping import group_failures, group_recoveries
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Renderer, SizeLimits

Measure = Callable[[str], int]

ROOMS = (
    SizeLimits(1000, 50, 4000, 8000),
    SizeLimits(500, 20, 1000, 4000),
    SizeLimits(300, 20, 500, 2000),
    SizeLimits(200, 10, 400, 2000),
    SizeLimits(100, 10, 300, 2000),
    SizeLimits(70, 10, 300, 1500),
    SizeLimits(50, 10, 300, 1500),
    SizeLimits(50, 5, 200, 1000),
    SizeLimits(30, 5, 200, 1000),
    SizeLimits(20, 5, 200, 1000),
    SizeLimits(15, 5, 150, 600),
    SizeLimits(12, 5, 150, 600),
    SizeLimits(8, 4, 150, 600),
    SizeLimits(5, 3, 120, 400),
    SizeLimits(3, 3, 100, 300),
    SizeLimits(1, 2, 100, 200),
    SizeLimits(1, 1, 60, 100),
)
"""From large to small; the first whose document fits is used. More causes are better than longer ones."""


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 units, the strictest reading of a vendor's "characters"."""
    return len(text) + sum(character > "\uffff" for character in text)


def utf8_bytes(text: str) -> int:
    """Return the length in UTF-8 bytes."""
    return len(text.encode("utf-8", "replace"))


def json_bytes(text: str) -> int:
    """Return the bytes that the text takes within a JSON string."""
    return len(msgspec.json.encode(text)) - 2


def render_within(
    message: Message, renderer: Renderer, folder: str, extension: str, *, limit: int, measure: Measure
) -> str:
    """Render the template: whole if it fits, else with less room, and at worst cut off at its end."""
    if _smallest(message) <= limit:
        text = renderer.render(folder, extension, message).text.strip("\n")
        if measure(text) <= limit:
            return text
    best, low, high = None, 0, len(ROOMS)
    while low < high:
        middle = (low + high) // 2
        text = renderer.render(folder, extension, message, size_limits=ROOMS[middle]).text.strip("\n")
        if measure(text) <= limit:
            best, high = text, middle
        else:
            low = middle + 1
    if best is not None:
        return best
    text = renderer.render(folder, extension, message, size_limits=ROOMS[-1]).text.strip("\n")
    return cut_text(text, limit, measure, tail=_tail(message))


def cut_text(text: str, limit: int, measure: Measure, *, tail: str = "…") -> str:
    """Return ``text`` if it fits, else its longest beginning that fits together with ``tail``."""
    if measure(text) <= limit:
        return text
    low, high = 0, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if measure(text[:middle]) + measure(tail) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low] + tail


def label(text: str, limit: int = 200) -> str:
    """Return an outside name for a field: one line, hidden characters shown, at most ``limit`` units."""
    plain = " ".join(visible(text).split()).encode("utf-8", "replace").decode()
    return cut_text(plain, limit, utf16_length)


def _tail(message: Message) -> str:
    event = message.event
    where = event.url or f"`cmc-notify failures` lists all, the bridge's ledger has event {event.id}"
    return f"…\n\nCut off here: {where}"


def _smallest(message: Message) -> int:
    """Return the least size of the whole document, to avoid rendering what can't fit."""
    event = message.event
    texts = sum(len(group.error_text or "") for group in group_failures(event.failures))
    members = len(event.failures) + sum(len(group.members) for group in group_recoveries(event.recoveries))
    return texts + members
