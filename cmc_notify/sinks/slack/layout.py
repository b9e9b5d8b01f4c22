"""Layout of rendered text as Block Kit messages within every limit.

Guarantee: the texts of all sections, in order, are the rendered lines; only blank lines around a section and
divider lines are left out. An over-long line continues in the next section without loss, no escape
(``&amp;``) or link is cut in two, and a code fence that a section ends in is closed there and opened again in
the next. Text that does not fit into ``most`` messages is cut only together with the notice that says so.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import ceil

from msgspec import Struct

from cmc_notify.sinks.shorter_text import utf16_length
from cmc_notify.sinks.slack.limits import HEADER, Block, Payload

ROOM = 12_000
"""Bytes of blocks in one message; Slack was seen to refuse about 13,000."""
OVERHEAD = 150
"""Bytes that a block adds to its text; a divider was seen to add 125."""
MOST_BLOCKS = 42
"""Blocks of the body; header, notice and remark are extra."""
LONGEST_SECTION = 2900
LONGEST_HEADLINE = 600
_BYTES_PER_UNIT = 2.5
_FENCE = "```"
_ENTITY = re.compile(r"&(?:amp|lt|gt);")
_LONGEST_ENTITY = 5


class Layout(Struct, frozen=True):
    """Messages in order. ``complete`` is False if the text was cut, and the last message says so."""

    messages: tuple[Payload, ...]
    complete: bool


def lay_out(text: str, *, most: int, notice: str | None = None, spare: int = 0) -> Layout:
    """Lay out the rendered ``text`` as at most ``most`` messages; else ``notice`` ends the last.

    ``notice`` is mrkdwn of some 500 characters; None if the caller does not use an incomplete layout.
    ``spare`` bytes of each message are kept free for up to four blocks of the caller.
    """
    headline, lines = _parse(text)
    reserve = _weight(notice or "") + 3 * OVERHEAD
    if len(text) > most * ROOM and notice is None:
        return Layout((), complete=False)
    room = ROOM - spare - reserve - max(_cost(block) for block in _head(headline, 1, most))
    pages: list[list[Block]] = [[]]
    used = 0
    complete = True
    for block in _blocks(lines):
        cost = _cost(block)
        if used + cost > room or len(pages[-1]) >= MOST_BLOCKS:
            if len(pages) == most:
                complete = False
                break
            pages.append([])
            used = 0
        pages[-1].append(block)
        used += cost
    if not complete and notice is not None:
        pages[-1].append(section(notice))
    total = len(pages)
    return Layout(
        tuple(
            {
                "text": cut_markup(headline, LONGEST_HEADLINE),
                "blocks": [*_head(headline, number, total), *_without_edge_dividers(page)],
            }
            for number, page in enumerate(pages, start=1)
        ),
        complete,
    )


def section(text: str) -> Block:
    """Return a section of mrkdwn; verbatim, so that Slack makes no link or mention of a plain ``@here``."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def remark(text: str) -> Block:
    """Return a small line of mrkdwn for the end of a message."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}


def sections(lines: Iterable[str]) -> Iterator[str]:
    """Yield texts of sections, each within Slack's limit, that hold the lines in order."""
    current: list[str] = []
    used = 0
    fenced = False
    for line, continues in _short_lines(lines):
        need = _size(line) + 1
        if current and (continues or used + need + len(_FENCE) + 1 > LONGEST_SECTION):
            yield from _section_text(current, fenced=fenced)
            current, used = ([_FENCE], len(_FENCE) + 1) if fenced else ([], 0)
        current.append(line)
        used += need
        fenced ^= line.count(_FENCE) % 2 == 1
    yield from _section_text(current, fenced=fenced)


def _section_text(lines: list[str], *, fenced: bool) -> Iterator[str]:
    text = "\n".join(lines)
    if not text.replace(_FENCE, "").strip():
        return
    yield f"{text}\n{_FENCE}" if fenced else text.strip("\n")


def _parse(text: str) -> tuple[str, list[str]]:
    """Return the headline and the other lines; a headline that is too long is also whole among the lines."""
    lines = text.split("\n")
    while lines and not lines[0].strip():
        del lines[0]
    if not lines:
        return "(The template gave an empty message.)", []
    headline = lines[0].strip()
    if _size(headline) <= LONGEST_HEADLINE:
        return headline, lines[1:]
    return cut_markup(headline, LONGEST_HEADLINE), lines


def _blocks(lines: list[str]) -> Iterator[Block]:
    """Yield blocks: a line of ``---`` outside a code fence is a divider, the lines between are sections."""
    pending: list[str] = []
    fenced = False
    for line in lines:
        if line.strip() == "---" and not fenced:
            yield from map(section, sections(pending))
            yield {"type": "divider"}
            pending = []
            continue
        fenced ^= line.count(_FENCE) % 2 == 1
        pending.append(line)
    yield from map(section, sections(pending))


def _without_edge_dividers(blocks: list[Block]) -> list[Block]:
    kept = [
        block
        for before, block in pairwise([{"type": "divider"}, *blocks])
        if block["type"] != "divider" or before["type"] != "divider"
    ]
    while kept and kept[-1]["type"] == "divider":
        kept.pop()
    return kept


def _head(headline: str, number: int, total: int) -> list[Block]:
    """Return the header of message ``number``; a long headline is a section of the first message."""
    label = f" ({number}/{total})" if total > 1 else ""
    if utf16_length(headline + label) > HEADER:
        if number == 1:
            return [section(f"{headline}{label}")]
        headline = cut_markup(headline, HEADER - len(label))
    return [{"type": "header", "text": {"type": "plain_text", "text": f"{headline}{label}", "emoji": True}}]


def _short_lines(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield lines that fit into a section, and whether each continues the line before it."""
    room = LONGEST_SECTION - 2 * (len(_FENCE) + 1)
    for line in lines:
        rest, continues = line, False
        while len(rest) > room or _size(rest) > room:
            cut = _cut_position(rest, room)
            yield rest[:cut], continues
            rest, continues = rest[cut:], True
        yield rest, continues


def cut_markup(text: str, most: int) -> str:
    """Return the beginning of markup of at most ``most`` units, with no escape or link cut in two."""
    if _size(text) <= most:
        return text
    return text[: _cut_position(text, most - 1)].rstrip() + "…"


def _cut_position(text: str, room: int) -> int:
    """Return the greatest length of a beginning that fits into ``room`` and cuts no token in two."""
    low, high = 1, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(text[:middle]) <= room else (low, middle - 1)
    entity = text.rfind("&", max(0, low - _LONGEST_ENTITY), low)
    if entity > 0 and (found := _ENTITY.match(text, entity)) and found.end() > low:
        low = entity
    link = text.rfind("<", 0, low)
    if link > 0 and text.find(">", link, low) < 0 <= text.find(">", low):
        return link
    backticks = [low - back for back in (1, 2) if low > back and text.startswith(_FENCE, low - back)]
    return min(backticks, default=low)


def _size(text: str) -> int:
    """Return the greater of UTF-16 units and scaled JSON bytes, which bounds a section in both."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return len(text)
    return max(utf16_length(text), ceil(_weight(text) / _BYTES_PER_UNIT))


def _weight(text: str) -> int:
    """Return the bytes of the text inside a JSON document."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")) - 2


def _cost(block: Block) -> int:
    match block["type"]:
        case "section" | "header":
            return _weight(block["text"]["text"]) + OVERHEAD
        case _:
            return OVERHEAD
