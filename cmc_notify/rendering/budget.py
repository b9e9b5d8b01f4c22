"""Limits the time and memory that one rendering may use for a user's templates.

Guarantee: whatever a template does is counted before or while it happens, so that a rendering ends within
about a second (more for an event with very many failures) and takes some tens of megabytes at the most.
Everything that a template makes counts, kept or not. Our own templates and plugins' are trusted: a rendering
that uses no other has no budget and pays nothing for it.
"""

import time
from collections.abc import Iterable
from sys import getsizeof
from typing import Any

from jinja2.utils import Namespace
from msgspec import Struct

from cmc_notify.core.events import Event

SECONDS = 1.0
"""Processor time of the thread, from the first line of a user's template on: a busy machine is no fault."""
SECONDS_PER_FAILURE = 0.0002
ROOM = 24_000_000
"""Bytes of text and lists."""
ROOM_PER_BYTE = 16
"""More for each byte of the event's own texts."""
MOST_ITEMS = 200_000
"""Items of one list, with all the lists in it."""
ITEMS_PER_FAILURE = 20
MOST_TEXT = 8_000_000
"""Characters in one list, with all the lists in it."""
TEXT_PER_CHARACTER = 2
DEEPEST = 50
"""Lists in one another."""
_TICKS = 32
"""Steps between two looks at the clock."""
_LARGE = 65536


class Overspent(Exception):
    """A template has used up its time or its room. The text says what to do."""


class Budget:
    """Of one rendering of one event."""

    def __init__(self, event: Event) -> None:
        self.size = _Weighing({}, items=1 << 60, text=1 << 60).weigh(event)
        """Characters of the event's texts."""
        failures = len(event.failures) + len(event.recoveries)
        self._seconds = SECONDS + SECONDS_PER_FAILURE * failures
        self._ends = time.thread_time() + self._seconds
        self._allowed = ROOM + ROOM_PER_BYTE * self.size
        self._room = self._allowed
        self._ticks = _TICKS
        self._weighing = _Weighing(
            {},
            items=MOST_ITEMS + ITEMS_PER_FAILURE * failures,
            text=MOST_TEXT + TEXT_PER_CHARACTER * self.size,
        )

    def step(self, number: int = 1) -> None:
        """Count ``number`` small steps. Raises Overspent."""
        self._ticks -= number
        if self._ticks < 0:
            self._room += 8 * (self._ticks - _TICKS)  # what a step prints is kept in a list
            self._ticks = _TICKS
            self._look()

    def take(self, size: float) -> None:
        """Count ``size`` bytes that are made or about to be. Raises Overspent."""
        self._room -= int(size)
        if size > _LARGE or self._room < 0:
            self._look()

    def _look(self) -> None:
        if self._room < 0:
            raise Overspent(
                f"it makes more than {self._allowed / 1e6:,.0f} MB of text and lists; "
                "end its loops and recursion, and print texts once instead of joining them again and again"
            )
        if time.thread_time() > self._ends:
            raise Overspent(
                f"it runs longer than {self._seconds:.1f} s; "
                "see that its loops and macros end, and that no long loop stands inside another"
            )

    def weigh(self, value: Any) -> int:
        """Characters of all texts in ``value``, about. Raises Overspent where it is too large or too deep."""
        return self._weighing.weigh(value)

    def hold(self, value: Any) -> None:
        """Count a list, tuple or dict that a template has made. Raises Overspent."""
        self.take(getsizeof(value))
        self.step(1 + len(value) // 8)
        self._weighing.weigh(value)

    def collect(self, values: Iterable[Any]) -> list[Any]:
        """A list of what an iterator gives. Raises Overspent as soon as it is too long."""
        found = []
        for value in values:
            self.step()
            self.take(8)
            found.append(value)
        return found


class _Weighing:
    """Walks lists, also where one stands in many places: printing or comparing would visit each of them."""

    def __init__(self, known: dict[int, int], *, items: int, text: int) -> None:
        self._known = known
        """Of the event's own parts, which live as long as the rendering, by their identity."""
        self._items = items
        self._text = text

    def weigh(self, value: Any) -> int:
        """Characters; numbers and the like count as twenty."""
        total = 0
        items = 0
        open_: list[tuple[Any, int]] = [(value, 0)]
        while open_:
            item, depth = open_.pop()
            items += 1
            if isinstance(item, str):
                total += len(item) + 2
            elif isinstance(item, Struct):
                total += self._of_part(item)
            elif isinstance(item, list | tuple):
                items += len(item)
                if items <= self._items:
                    open_.extend((each, depth + 1) for each in item)
            elif isinstance(item, dict):
                open_.extend((each, depth + 1) for pair in item.items() for each in pair)
            elif isinstance(item, Namespace):
                open_.append((item._Namespace__attrs, depth + 1))  # noqa: SLF001  it has no other way
            else:
                total += 20
            if items > self._items or total > self._text or depth > DEEPEST:
                raise Overspent(
                    f"a list holds more than {self._items:,} items or {self._text / 1e6:,.0f} MB of text, "
                    f"or lists more than {DEEPEST} deep; make smaller ones"
                )
        return total

    def _of_part(self, part: Struct) -> int:
        found = self._known.get(id(part))
        if found is None:
            self._known[id(part)] = 0
            fields = [getattr(part, field) for field in part.__struct_fields__]
            found = self._known[id(part)] = 20 + _Weighing(self._known, items=1 << 60, text=1 << 60).weigh(
                fields
            )
        return found
