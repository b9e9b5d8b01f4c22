"""One ``run`` at a time holds a SQLite store: a lock that the kernel releases when its process dies.

The lock is on a file next to the database, never on the database itself: closing any descriptor of that
file would drop SQLite's own locks.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from cmc_notify.errors import StoreLocked

_CHECK_SECONDS = 0.05
"""Seconds: far longer than :func:`is_locked` takes."""


def is_locked(database: Path) -> bool:
    """Return True if a process holds the store. Takes a shared lock for a moment, and changes nothing.

    Raises OSError if the lock's file can't be read.
    """
    with suppress(FileNotFoundError):
        file = os.open(lock_file(database), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
    return False


def lock_file(database: Path) -> Path:
    """Return the path of the locked file, next to the database."""
    return database.with_name(database.name + ".lock")


class FileLock:
    """A lock that is held from construction until :meth:`release` or the end of the process."""

    def __init__(self, database: Path) -> None:
        """Raises StoreLocked if another process holds it, OSError if the file can't be created.

        A link is refused: in a folder where others write too, it could make us empty any of our own files.
        """
        path = lock_file(database)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._take()
            self._write_process_id()
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StoreLocked(
                f"store {database}: another bridge (process {holder}) holds it, by {path.name}; "
                "stop that bridge first, or give this one its own store.url"
            ) from None
        except OSError:  # such as a full disk; the next try must not find the lock held by ourselves
            os.close(self._file)
            raise
        self._released = False

    def _take(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_CHECK_SECONDS)  # a process that only checks is done by then
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _write_process_id(self) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process take the lock. The file stays: if it were removed, two could hold the lock."""
        if not self._released:  # the descriptor may be another file's now
            os.close(self._file)
        self._released = True
