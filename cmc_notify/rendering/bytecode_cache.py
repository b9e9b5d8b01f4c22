"""A cache of the compiled built-in and plugin templates, shared by all environments of this process.

The check at start, the bridge and each reload have their own environments; without this cache each would
compile the same templates again. Users' templates are never cached: they change.
"""

from collections.abc import Callable

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from jinja2.utils import LRUCache

_KEPT = 800
"""Several times as many as the package has: a user's template can ask for built-in ones by endless names."""
_CODE: LRUCache = LRUCache(_KEPT)
"""By variety, name with file, and checksum of the source. Safe to use from several threads."""


class TemplateBytecodeCache(BytecodeCache):
    """Jinja's cache for one environment; nothing is written to a disk.

    ``variety`` names everything else that the code depends on: constants are computed while it is compiled.
    ``keeps`` returns True if the code of a file may be cached.
    """

    def __init__(self, variety: str, keeps: Callable[[str | None], bool]) -> None:
        self._variety = variety
        self._keeps = keeps

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Return name and file; empty for code that is not cached."""
        return f"{name}\0{filename}" if self._keeps(filename) else ""

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket from the cache."""
        bucket.code = _CODE.get((self._variety, bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Store the bucket's code in the cache."""
        if bucket.key and bucket.code is not None:
            _CODE[self._variety, bucket.key, bucket.checksum] = bucket.code
