"""Notices that a file was saved, by its time and size; nothing is missed that lasts longer than a snapshot."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

CHECK_INTERVAL = 0.3
"""Seconds between looks."""

Snapshot = dict[Path, tuple[int, int]]


def snapshot(places: list[Path]) -> Snapshot:
    """Time and size of each file, and of all files in each folder."""
    found_files: Snapshot = {}
    for place in places:
        for path in [place, *(place.rglob("*") if place.is_dir() else ())]:
            try:
                found = path.stat()
            except OSError:  # it is being replaced
                continue
            found_files[path] = (found.st_mtime_ns, found.st_size)
    return found_files


def changes(places: Callable[[], list[Path]], sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Once now, and then each time that something in ``places`` has changed."""
    while True:
        watched = places()
        before = snapshot(watched)
        yield
        while snapshot(watched) == before:
            sleep(CHECK_INTERVAL)
