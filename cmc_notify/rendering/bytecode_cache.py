"""The code of our own and of plugins' templates, kept in this process for whoever renders next.

A check at start, the bridge and each reload have an environment of their own, and compiling the same
templates anew is most of what the second one would do. What users write is never kept: it changes.
"""

from collections.abc import Callable

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from jinja2.utils import LRUCache

_KEPT = 800
"""Several times as many as the package ships: a user's template may ask for ours by names without end."""
_CODE: LRUCache = LRUCache(_KEPT)
"""By variety, name with place, and checksum of the source; safe to use from several threads."""


class TemplateBytecodeCache(BytecodeCache):
    """Jinja's cache for one environment; nothing is written to a disk.

    ``variety`` names what the code depends on besides the template, for constants are worked out while it is
    compiled. ``keeps`` says whether the code of a file may be kept.
    """

    def __init__(self, variety: str, keeps: Callable[[str | None], bool]) -> None:
        self._variety = variety
        self._keeps = keeps

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Name and place; empty for what is not kept."""
        return f"{name}\0{filename}" if self._keeps(filename) else ""

    def load_bytecode(self, bucket: Bucket) -> None:
        """Put into the bucket what is known."""
        bucket.code = _CODE.get((self._variety, bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what the bucket holds."""
        if bucket.key and bucket.code is not None:
            _CODE[self._variety, bucket.key, bucket.checksum] = bucket.code
