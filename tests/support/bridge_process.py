"""A real ``cmc-notify run`` in a process of its own, for the acceptance tests."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import yaml

Log = dict[str, Any]


class BridgeProcess:
    """Starts, watches and ends one bridge. ``log`` holds its log lines, parsed."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.log: list[Log] = []
        self.output = b""
        self._config = folder / "cmc-notify.yaml"
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self.configure(config)

    def configure(self, config: dict[str, Any]) -> None:
        """Write the config file; a running bridge sees it at SIGHUP."""
        defaults: dict[str, Any] = {
            "store": {"url": f"sqlite:///{self.folder}/store.db"},
            "http": {"listen": "127.0.0.1:0"},
            "log": {"level": "debug"},
        }
        self._config.write_text(yaml.safe_dump(defaults | config), encoding="utf-8")

    @property
    def command(self) -> list[str]:
        """``cmc-notify`` as this environment has it."""
        return [sys.executable, "-m", "cmc_notify"]

    @property
    def environment(self) -> dict[str, str]:
        """An environment without anybody's settings."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CMC_NOTIFY_")}
        return kept | {"CMC_NOTIFY_CONFIG": str(self._config), "PYTHONUNBUFFERED": "1"}

    async def start(self, until: str = "bridge.started") -> None:
        """Start it and wait until it serves, or for another line of its log."""
        begun = len(self.log)
        self._process = await asyncio.create_subprocess_exec(
            *self.command,
            "run",
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr
        assert self._process.stdout
        self._readers = [
            asyncio.create_task(self._read_log(self._process.stderr)),
            asyncio.create_task(self._read_output(self._process.stdout)),
        ]
        await self.wait(lambda log: any(line.get("event") == until for line in log[begun:]))

    @property
    def port(self) -> int:
        """Where it listens."""
        told = ("bridge.listening", "bridge.started")
        return next(int(line["port"]) for line in reversed(self.log) if line.get("event") in told)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process
        return self._process.pid

    async def stop(self, number: int = signal.SIGTERM, within: float = 20) -> int:
        """Send a signal and wait for the end; returns the exit code (negative: killed by a signal)."""
        assert self._process
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(within):
            code = await self._process.wait()
            await asyncio.gather(*self._readers)
        return code

    async def kill(self) -> int:
        """SIGKILL."""
        return await self.stop(signal.SIGKILL)

    async def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """Run another command beside it; returns exit code, standard output, standard error."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            *arguments,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def wait(self, until: Callable[[list[Log]], bool], *, within: float = 30) -> None:
        """Wait until the log shows something."""
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: until(self.log) or self._ended)
        except TimeoutError:
            raise AssertionError(f"not seen within {within} s; last lines: {self.log[-8:]}") from None
        assert until(self.log), f"the bridge ended: {self.log[-8:]}"

    async def polls(self, count: int, *, within: float = 30) -> None:
        """Wait for ``count`` more polls that went through."""
        seen = self._polls_done
        await self.wait(lambda _log: self._polls_done >= seen + count, within=within)

    async def polls_of_each(self, controllers: Iterable[str], count: int, *, within: float = 30) -> None:
        """Wait for ``count`` more polls of each controller that went through."""
        begun, wanted = len(self.log), set(controllers)

        def done(log: list[Log]) -> bool:
            polls = Counter(line["controller"] for line in log[begun:] if line.get("event") == "poll.done")
            return all(polls[name] >= count for name in wanted)

        await self.wait(done, within=within)

    async def drained(self, *, within: float = 30) -> None:
        """Wait until nothing is pending in the outbox; looked at whenever a line is logged."""
        await self.wait(lambda _log: self._pending() == 0, within=within)

    def _pending(self) -> int:
        with closing(sqlite3.connect(f"file:{self.folder}/store.db?mode=ro", uri=True)) as store:
            [(count,)] = store.execute("SELECT count(*) FROM deliveries WHERE state = 'pending'")
        return int(count)

    @property
    def _polls_done(self) -> int:
        return sum(1 for line in self.log if line.get("event") == "poll.done")

    @property
    def _ended(self) -> bool:
        return bool(self._readers) and all(reader.done() for reader in self._readers)

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"event": line.decode(errors="replace").rstrip()}
            async with self._changed:
                self.log.append(entry)
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()

    async def _read_output(self, stream: asyncio.StreamReader) -> None:
        self.output += await stream.read()
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def bridge(folder: Path, config: dict[str, Any]) -> AsyncIterator[BridgeProcess]:
    """A running bridge that is gone at the end of the block, whatever happens in it."""
    process = BridgeProcess(folder, config)
    await process.start()
    try:
        yield process
    finally:
        await process.kill()
