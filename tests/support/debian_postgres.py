"""PostgreSQL as Debian packages it, and PgBouncer in front of it, on loopback."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.peers import free_port, missing, program, running

PASSWORD = "s3cr3t-pg"


def binaries() -> Path:
    """Return the folder of the newest server's programs; skip the test without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        missing("PostgreSQL of Debian")
    if os.geteuid() != 0:
        missing("the right to start PostgreSQL as its own user (root)")
    return found[-1].parent


def open_to_others(folder: Path) -> None:
    """Let the server's own user reach a temporary folder."""
    for parent in (folder, *folder.parents):
        if parent in (Path("/tmp"), Path("/")):
            break
        parent.chmod(0o755)


class DebianPostgres:
    """One server in ``folder``, which user ``postgres`` owns."""

    def __init__(self, folder: Path) -> None:
        self.bin = binaries()
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        folder.mkdir(exist_ok=True)
        open_to_others(folder)
        shutil.chown(folder, "postgres", "postgres")

    async def initialize(self, *options: str) -> None:
        """Make an empty cluster whose superuser has a password."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        shutil.chown(secret, "postgres")
        await self.tool(
            "initdb", "-D", str(self.data), "-U", "postgres", f"--pwfile={secret}",
            "--auth=scram-sha-256", "-E", "UTF8", "--no-sync", *options,
        )  # fmt: skip
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write("host replication all 127.0.0.1/32 scram-sha-256\n")

    async def copy_of(self, primary: "DebianPostgres") -> None:
        """Make a standby of a running server."""
        dsn = f"host=127.0.0.1 port={primary.port} user=postgres password={PASSWORD}"
        await self.tool("pg_basebackup", "-D", str(self.data), "-d", dsn, "-R", "-X", "stream", "-c", "fast")

    async def tool(self, name: str, *arguments: str) -> str:
        """Run one of the server's programs as its own user."""
        process = await asyncio.create_subprocess_exec(
            str(self.bin / name),
            *arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            user="postgres",
            cwd=self.folder,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode(errors="replace")
        return output.decode(errors="replace")

    @asynccontextmanager
    async def running(self, **settings: str) -> AsyncIterator["DebianPostgres"]:
        """The server, until the end of the block."""
        command = [str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        given = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            **settings,
        }
        for key, value in given.items():
            command += ["-c", f"{key}={value}"]
        async with running(command, port=self.port, folder=self.folder, user="postgres"):
            yield self

    async def promote(self) -> None:
        """Make a standby the primary."""
        await self.tool("pg_ctl", "promote", "-w", "-D", str(self.data))


@asynccontextmanager
async def pgbouncer(server: DebianPostgres, folder: Path, mode: str) -> AsyncIterator[int]:
    """Run PgBouncer in front of a server, with few connections, so that it mixes them; yield its port."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240  a test, and a local folder
    open_to_others(folder)
    port = free_port()
    users, config = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"postgres" "{PASSWORD}"\n')
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {mode}\n"
        "default_pool_size = 3\nmax_client_conn = 100\nlogfile =\npidfile =\n"
    )
    for each in (folder, users, config):
        shutil.chown(each, "postgres", "postgres")
    async with running([program("pgbouncer"), str(config)], port=port, folder=folder, user="postgres"):
        yield port
