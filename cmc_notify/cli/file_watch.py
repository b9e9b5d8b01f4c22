"""Detects saved files by time and size. No change that lasts longer than one interval is missed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

CHECK_INTERVAL = 0.3
"""Seconds between two snapshots."""

Snapshot = dict[Path, tuple[int, int]]


def snapshot(places: list[Path]) -> Snapshot:
    """Return time and size of each file, and of all files in each folder."""
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
    """Yield once now, and then each time that something in ``places`` has changed."""
    while True:
        watched = places()
        before = snapshot(watched)
        yield
        while snapshot(watched) == before:
            sleep(CHECK_INTERVAL)
