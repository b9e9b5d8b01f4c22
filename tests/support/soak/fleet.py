"""Real ``cmc-notify run`` processes on one store, each started again when it ends, as a supervisor does.

Each life's log is in a file of its own, each line with the time that the record goes by.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from support.soak.plan import Plan
from support.soak.receivers import LIFE
from support.soak.record import End, Look, Record, Silence

_LOOKS = {"poll.done": True, "poll.failed": False}
_SILENT = ("no response after the request was written", "no response within", "no answer within")
_LONGEST_PAUSE = 1.5
"""Seconds until an ended replica is started again."""
_STOP_WITHIN = 20.0


class Life:
    """One process. What its log tells goes into the record as it comes."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, record: Record, log: BinaryIO) -> None:
        self.name = name
        self.pid = process.pid
        self.started = False
        self.killed = False
        self.frozen = False
        self.last: deque[str] = deque(maxlen=4)
        self._process = process
        self._record = record
        self._log = log

    async def live(self, noticed: Callable[[], None]) -> int:
        """Read its log until its end; returns the exit code. ``noticed`` is called for what matters."""
        assert self._process.stderr
        with self._log:
            async for line in self._process.stderr:
                self._log.write(b"%.3f " % time.monotonic() + line)
                if self._read(line):
                    noticed()
        return await self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal; one that has ended gets none."""
        if self._process.returncode is None:
            os.kill(self.pid, number)

    async def ended(self) -> int:
        """Wait for its end."""
        return await self._process.wait()

    def _read(self, line: bytes) -> bool:
        now = time.monotonic()
        text = line.decode(errors="replace").rstrip()
        self.last.append(text[:500])
        try:
            entry: Mapping[str, Any] = json.loads(text)
        except ValueError:
            self._record.bugs.append(f"{self.name} wrote {text[:500]!r}")
            return False
        event = str(entry.get("event"))
        if event in _LOOKS:
            self._record.looks.append(Look(now, self.name, entry["controller"], _LOOKS[event]))
            return True
        if event == "delivery.retry" and str(entry.get("reason")).startswith(_SILENT):
            self._record.silences.append(Silence(now, self.name, entry["delivery"]))
        elif event == "bridge.started":
            self.started = True
            return True
        elif event.endswith((".bug", ".lost_track")) or "exception" in entry:
            self._record.bugs.append(f"{self.name} logged {text[:1000]}")
        return False


class Fleet:
    """The replicas. Each life has a config file of its own, which differs in its name only."""

    def __init__(
        self, plan: Plan, record: Record, *, folder: Path, config: Mapping[str, Any], sinks: Mapping[str, str]
    ) -> None:
        """``config`` lacks the sinks, which are webhooks at the given URLs."""
        self.alive: dict[int, Life] = {}
        """By number of the replica, from 1."""
        self._plan = plan
        self._record = record
        self._folder = folder
        self._config = config
        self._sinks = sinks
        self._stopping = False
        self._keepers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    @property
    def working(self) -> int:
        """How many have started, and were neither killed nor frozen since."""
        return sum(1 for life in self.alive.values() if life.started and not (life.killed or life.frozen))

    async def start(self) -> None:
        """Start all of them, and wait until each of them works."""
        self._keepers = [
            asyncio.create_task(self._keep(number)) for number in range(1, self._plan.replicas + 1)
        ]
        await self.wait(lambda: self.working == self._plan.replicas)

    async def wait(self, until: Callable[[], bool]) -> None:
        """Wait until something holds, which is looked at whenever a log tells something."""
        while not until():
            self._changed.clear()
            await self._changed.wait()

    async def quiet(self, controllers: int) -> None:
        """Wait until each controller has had one more good poll than now."""
        since = time.monotonic()
        await self.wait(lambda: len({look.controller for look in self._looks_after(since)}) >= controllers)

    async def stop(self) -> None:
        """SIGTERM; one that does not end, or not with 0, is on record."""
        self._stopping = True
        lives = list(self.alive.values())
        for life in lives:
            life.signal(signal.SIGTERM)
        codes = await asyncio.gather(*(self._stopped(life) for life in lives))
        for life, code in zip(lives, codes, strict=True):
            if code:
                self._record.ends.append(End(time.monotonic(), life.name, code, " | ".join(life.last)))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def kill_all(self) -> None:
        """Whatever happens, nothing is left behind."""
        self._stopping = True
        for life in self.alive.values():
            life.signal(signal.SIGKILL)
        for keeper in self._keepers:
            keeper.cancel()

    def _looks_after(self, since: float) -> list[Look]:
        return [look for look in self._record.looks[-1000:] if look.at > since and look.good]

    async def _stopped(self, life: Life) -> int:
        try:
            async with asyncio.timeout(_STOP_WITHIN):
                return await life.ended()
        except TimeoutError:
            life.signal(signal.SIGKILL)
            return await life.ended()

    async def _keep(self, number: int) -> None:
        chance = self._plan.chance("restart", number)
        for life_number in count(1):
            life = await self._start(number, f"r{number}.{life_number}")
            code = await life.live(self._changed.set)
            del self.alive[number]
            if self._stopping:
                return
            if not life.killed:
                self._record.ends.append(End(time.monotonic(), life.name, code, " | ".join(life.last)))
            await self._pause(chance)

    async def _pause(self, chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(0, _LONGEST_PAUSE))

    async def _start(self, number: int, name: str) -> Life:
        path = self._folder / f"r{number}.yaml"
        sinks = {
            sink: {
                "type": "webhook",
                "url": url,
                "headers": {LIFE: name},
                "timeout": self._plan.sink_timeout,
                "retry": {"initial": "200ms", "max": "2s"},
                "concurrency": self._plan.concurrency,
            }
            for sink, url in self._sinks.items()
        }
        path.write_text(yaml.safe_dump({**self._config, "sinks": sinks}), encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CMC_NOTIFY_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cmc_notify", "run", "--config", str(path)),
            env=kept | {"PYTHONUNBUFFERED": "1"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        log = (self._folder / f"{name}.log").open("wb")
        life = self.alive[number] = Life(name, process, self._record, log)
        return life
