"""One ``run`` at a time holds a SQLite store: a lock that the kernel releases when its process dies.

The lock is on a file beside the database, never on the database itself: closing any descriptor of that
file would drop SQLite's own locks.
"""

import fcntl
import os
from pathlib import Path

from cmc_notify.errors import StoreLocked


class FileLock:
    """Held from construction until :meth:`release` or the end of the process, however it ends."""

    def __init__(self, database: Path) -> None:
        """Raises StoreLocked where another process holds it, OSError where the file can't be made.

        A link is refused: in a folder where others write too, it could name any file of ours to empty.
        """
        path = database.with_name(database.name + ".lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StoreLocked(
                f"store {database}: another bridge (process {holder}) holds it, by {path.name}; "
                "stop that one first, or give this one a store.url of its own"
            ) from None
        except OSError:
            os.close(self._file)
            raise
        self._released = False
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process take over. The file stays: removing it would let two hold 'the' lock."""
        if not self._released:  # the number may be another file's by now
            os.close(self._file)
        self._released = True
