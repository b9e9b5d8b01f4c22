"""Digests of the files that a config names: a rotated secret is noticed, however it is mounted.

Kubernetes swaps a link above the file; others replace the file or write into it. Only the content shows it.
"""

import hashlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Digests = Mapping[Path, bytes | None]
"""By file, the digest of its content; None where it is empty or can't be read, and so of no use."""

_LARGEST = 4 * 1024 * 1024
"""Bytes: no secret and no bundle of certificates is larger, and reading must be cheap."""


def named_files(tree: Any) -> Iterator[Path]:
    """Yield every ``…_file`` of a config's tree: secrets, certificates, keys."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from named_files(value)
        elif isinstance(key, str) and key.endswith("_file") and isinstance(value, str) and value:
            yield Path(value)


def digests(files: Iterable[Path]) -> Digests:
    """Return the digests of the files as they are now. Blocks; raises nothing."""
    return {file: _digest(file) for file in files}


def _digest(file: Path) -> bytes | None:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= _LARGEST:
            return None  # reading a pipe would take its content away from its real reader
        return hashlib.sha256(file.read_bytes()).digest()
    except (OSError, ValueError):
        return None
