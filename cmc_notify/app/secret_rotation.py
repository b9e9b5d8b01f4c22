"""Detect rotated secrets: a file that the config names has new content, and is complete.

While a file is missing, empty or being written, the present secret stays in use. A config that was refused is
read again only after one of the files has changed again.
"""

import asyncio
from pathlib import Path

import structlog

from cmc_notify.settings import Loaded
from cmc_notify.settings.files import Digests, digests

_log = structlog.get_logger(__name__)

SETTLE_TIME = 0.5
"""Seconds that a changed file must stay the same, so that it is not half written."""


class SecretRotation:
    """Watches the files of one loaded config."""

    def __init__(self, loaded: Loaded, *, settle: float = SETTLE_TIME) -> None:
        self.loaded = loaded
        self._settle = settle
        self._tried: Digests = loaded.files
        self._missing: frozenset[Path] = frozenset()

    async def changed(self) -> bool:
        """Return True if files have new content not tried yet; from now on it counts as tried."""
        now = await self._digests()
        new = [file for file, digest in now.items() if digest not in (None, self.loaded.files[file])]
        if not new or now == self._tried:
            return False
        await asyncio.sleep(self._settle)
        if await self._digests() != now:
            return False  # still being written: the next check finds it complete
        self._tried = now
        _log.info("secrets.changed", files=sorted(map(str, new)))
        return True

    async def _digests(self) -> Digests:
        found = await asyncio.to_thread(digests, self.loaded.files)
        missing = frozenset(file for file, digest in found.items() if digest is None)
        for file in sorted(missing - self._missing):
            _log.warning(
                "secrets.unreadable",
                file=str(file),
                remedy="the previous secret stays in use; write the file again",
            )
        self._missing = missing
        return found
