"""The lives of one bridge: each ends at a boundary, and the next begins over the same store."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cmc_notify.boundaries import Boundary
from cmc_notify.simulator import Simulator
from support.crash import killable_bridge
from support.crash.killable_bridge import Order
from support.crash.ledger import Ledger, Sent
from support.crash.receivers import READERS, Receivers
from support.crash.story import Step

PATIENCE = 20.0
"""Seconds for what takes a fraction of one, on a machine that is busy with something else."""
_LOOK_AGAIN = 0.02
"""Seconds between two looks at the ledger: another process's store calls nobody."""


class Nursery:
    """The process that bridges are forked from; one bridge at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, killable_bridge.__file__],
            env={name: value for name, value in os.environ.items() if not name.startswith("CMC_NOTIFY_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def bear(self, order: Order) -> int:
        """Start a bridge and return its process id."""
        assert self._process.stdin
        self._process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> int:
        """The next answer: the bridge's process id, or how it ended."""
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """No more orders. The bridge that it waits for must have ended."""
        self._process.communicate()


class Lives:
    """One bridge over one store, started anew after each death.

    ``in_flight`` counts, for what a receiver had accepted and the store did not know of at a death, in how
    many deaths that was so.
    """

    def __init__(
        self,
        nursery: Nursery,
        *,
        folder: Path,
        store: str,
        ledger: Ledger,
        sim: Simulator,
        receivers: Receivers,
        boundary: Boundary | None = None,
    ) -> None:
        self.deaths = 0
        self.in_flight: Counter[Sent] = Counter()
        self._nursery = nursery
        self._folder = folder
        self._ledger = ledger
        self._sim = sim
        self._receivers = receivers
        self._boundary = boundary
        self._pid: int | None = None
        (folder / "cmc-notify.yaml").write_text(yaml.safe_dump(config(folder, store, sim, receivers)))
        (folder / "templates" / "email").mkdir(parents=True)
        (folder / "templates" / "email" / "default.txt.j2").write_text("{{ event | json }}")

    def begin(self) -> None:
        """Start a bridge."""
        self._pid = self._nursery.bear(Order(str(self._folder), self._boundary))

    async def take(self, step: Step, told: int, *, dies: bool) -> None:
        """One step of the story: its change, a death in it, and all that must be told, until it is done with.

        ``told`` is how many deliveries there are then in all.
        """
        self._sim.advance(60)

        def change() -> None:
            step.change()
            if dies:
                assert self._boundary
                self.arm(step.passing(self._boundary))

        self._sim.at(0, change)
        name = step.change.__name__
        if dies:
            await self.dies(name)
            self.begin()
        await self.until(told, pending=step.held, where=name)

    def arm(self, passing: int) -> None:
        """Let the bridge die at this passing of its boundary, counted from now on."""
        arming = self._folder / "arming"
        arming.write_text(str(passing))
        arming.rename(self._folder / "armed")

    async def dies(self, where: str) -> None:
        """The bridge dies at its boundary, by SIGKILL and nothing else."""
        status = await self._end(f"{self._boundary} was not reached in {where}")
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, self._log()
        note = self._folder / "died"
        assert note.read_text() == self._boundary
        note.unlink()
        self.deaths += 1

    async def kill(self) -> None:
        """SIGKILL from outside."""
        assert self._pid
        os.kill(self._pid, signal.SIGKILL)
        await self._end("SIGKILL does not end it")

    def terminate(self) -> None:
        """SIGTERM."""
        assert self._pid
        os.kill(self._pid, signal.SIGTERM)

    async def end(self) -> None:
        """SIGTERM, and a good end."""
        self.terminate()
        status = await self._end("SIGTERM does not end it")
        assert os.waitstatus_to_exitcode(status) == 0, self._log()

    async def until(self, told: int, *, pending: int = 0, where: str) -> None:
        """Wait until the ledger holds ``told`` deliveries or more, and ``pending`` of them are unfinished."""
        standing = (0, 0)
        try:
            async with asyncio.timeout(PATIENCE):
                while standing[0] < told or standing[1] != pending:
                    await asyncio.sleep(_LOOK_AGAIN)
                    standing = await self._ledger.standing()
        except TimeoutError:
            counts = f"all deliveries and unfinished ones are {standing}, not {(told, pending)}"
            raise AssertionError(f"{where}: {counts}: {self._log()}") from None

    async def quiet(self) -> None:
        """Wait for two polls that find nothing new."""
        seen = len(self._sim.requests)
        async with asyncio.timeout(PATIENCE):
            while len(self._sim.requests) < seen + 8:  # noqa: ASYNC110  the record of requests calls nobody
                await asyncio.sleep(_LOOK_AGAIN)

    async def _end(self, otherwise: str) -> int:
        """Wait for the bridge's end, and see what it leaves behind."""
        assert self._pid
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        process = os.pidfd_open(self._pid)
        loop.add_reader(process, ended.set)
        try:
            await asyncio.wait_for(ended.wait(), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{otherwise}: {self._log()}") from None
        finally:
            loop.remove_reader(process)
            os.close(process)
        self._pid = None
        status = self._nursery.answer()
        recorded = await self._ledger.recorded()
        accepted = {(arrival.key, arrival.reader) for arrival in self._receivers.arrivals}
        self.in_flight.update(accepted - recorded)
        await self._ledger.let_leases_end()
        return status

    def _log(self) -> str:
        return (self._folder / "bridge.log").read_text()[-4000:]

    def close(self) -> None:
        """Leave no process behind."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._nursery.answer()


def config(folder: Path, store: str, sim: Simulator, receivers: Receivers) -> dict[str, Any]:
    """Site 1 goes to the webhook, and what is dead there to the mailbox; site 2 goes to the mailbox."""
    each = {"concurrency": 1, "timeout": "5s", "retry": {"initial": "50ms", "max": "100ms"}}
    return {
        "controllers": {
            "emea": {
                "url": sim.url,
                "first_run": "all",
                "poll": {
                    "interval": "100ms",
                    "idle_interval": "100ms",
                    "settle": "1s",
                    "unreachable_after": 2,
                },
                "overdue": {},
            }
        },
        "store": {"url": store},
        "sinks": {
            "hook": {"type": "webhook", "url": receivers.hook.url, "fallback": "mail", **each},
            "mail": {
                "type": "email",
                "host": "127.0.0.1",
                "port": receivers.mail.port,
                "tls": "none",
                "from": "cmc@example.net",
                "to": list(READERS),
                **each,
            },
        },
        "routes": [
            {"match": {"site_id": [2]}, "sinks": ["mail"]},
            {"match": {"event": ["sink.*"]}, "sinks": ["mail"]},
            {"sinks": ["hook"]},
        ],
        "templates_dir": str(folder / "templates"),
        "http": {"listen": "127.0.0.1:0"},
        "shutdown_grace": "3s",
    }


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery until the end of the block."""
    made = Nursery()
    try:
        yield made
    finally:
        made.close()
