"""Notices that a file was saved, by its time and size; nothing is missed that lasts longer than a look."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

EVERY = 0.3
"""Seconds between looks."""

Seen = dict[Path, tuple[int, int]]


def look(places: list[Path]) -> Seen:
    """Time and size of each file, and of all files in each folder."""
    seen: Seen = {}
    for place in places:
        for path in [place, *(place.rglob("*") if place.is_dir() else ())]:
            try:
                found = path.stat()
            except OSError:  # it is being replaced
                continue
            seen[path] = (found.st_mtime_ns, found.st_size)
    return seen


def changes(places: Callable[[], list[Path]], sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Once now, and then each time that something in ``places`` has changed."""
    while True:
        watched = places()
        before = look(watched)
        yield
        while look(watched) == before:
            sleep(EVERY)
