"""A new store on a file, without making its schema anew for each test."""

import asyncio
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cmc_notify.store import Store, open_store


async def new_store(path: Path, *, clock: Callable[[], float]) -> Store:
    """An empty store at ``path``, opened as the bridge does. How the schema is made is tested elsewhere."""
    await asyncio.to_thread(lambda: path.write_bytes(_empty()))
    return await open_store(f"sqlite:///{path}", clock=clock, exclusive=True)


@cache
def _empty() -> bytes:
    """What a store's file holds once it was opened and closed."""

    async def open_and_close(path: Path) -> None:
        await (await open_store(f"sqlite:///{path}", clock=lambda: 0.0, exclusive=True)).close()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.db")
        asyncio.run(open_and_close(path))
        return path.read_bytes()
