"""Real bridges on one real PostgreSQL: one at a time polls a controller, whatever becomes of it."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
from aiohttp import ClientSession

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver
from cmc_notify.telemetry import LoggedReasons
from support.bridge_process import BridgeProcess, Log
from support.postgres import PostgresServer

ONE, FOUR = ("emea",), ("apac", "emea", "latam", "us")


class Fleet:
    """Bridges that share a store, the controllers that they poll, and a receiver that they tell."""

    def __init__(self, folder: Path, store: str, sims: dict[str, Simulator], receiver: Receiver) -> None:
        self.sims = sims
        self.receiver = receiver
        self.bridges: list[BridgeProcess] = []
        self._folder = folder
        self._store = store

    async def add(self) -> BridgeProcess:
        """One more bridge, started."""
        folder = self._folder / f"bridge-{len(self.bridges)}"
        folder.mkdir()
        poll = {"interval": "200ms", "idle_interval": "200ms", "settle": "1s"}
        bridge = BridgeProcess(
            folder,
            {
                "store": {"url": self._store},
                "controllers": {
                    name: {"url": sim.url, "first_run": "all", "poll": poll}
                    for name, sim in self.sims.items()
                },
                "sinks": {"hook": {"type": "webhook", "url": self.receiver.url}},
                "routes": [{"sinks": ["hook"]}],
                "shutdown_grace": "3s",
            },
        )
        self.bridges.append(bridge)
        await bridge.start()
        return bridge

    async def until(self, reached: Callable[[], bool], *, within: float = 30) -> float:
        """Wait until something holds after a line of any log; returns the seconds that it took."""
        begun = monotonic()
        alive = [each for each in self.bridges if not each._ended]
        waits = [asyncio.create_task(each.wait(lambda _log: reached(), within=within)) for each in alive]
        done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in rest:
            wait.cancel()
        for wait in done:
            wait.result()
        return monotonic() - begun

    async def attending(self) -> list[list[str]]:
        """What each replica says that it would poll and sends to, as the store has it."""
        connection = await asyncpg.connect(self._store)
        try:
            return [
                sorted(json.loads(row["names"]))
                for row in await connection.fetch("SELECT names FROM replicas")
            ]
        finally:
            await connection.close()

    def loads(self) -> list[int]:
        """How many controllers each bridge leads that runs."""
        return sorted(len(led_by(each)) for each in self.bridges if not each._ended)

    async def told(self, count: int = 1) -> None:
        """A job fails at each controller, and is told once."""
        before = len(self.receiver.accepted)
        for sim in self.sims.values():
            for _ in range(count):
                job = sim.jobs.add(feature_ids=[3], site_ids=[1])
                job.start()
                job.finish("Failed", error_text="no route to the interpreter")
        total = before + count * len(self.sims)
        await self.receiver.wait(lambda receiver: len(receiver.accepted) >= total)
        assert len(self.receiver.accepted) == total

    def told_once(self) -> None:
        """No transition was told by two."""
        told = Counter(
            (request.document["controller"], request.document["job"]["id"], request.document["type"])
            for request in self.receiver.accepted
        )
        assert set(told.values()) == {1}


def led_by(bridge: BridgeProcess) -> set[str]:
    """What it leads, by its log."""
    led: set[str] = set()
    for line in bridge.log:
        if line.get("event") == "lead.taken":
            led.add(str(line["controller"]))
        if line.get("event") in ("lead.lost", "lead.given_up"):
            led.discard(str(line["controller"]))
    return led


def named(event: str, since: int = 0) -> Callable[[list[Log]], bool]:
    """Whether the log tells something, from a line on."""
    return lambda log: any(line.get("event") == event for line in log[since:])


@asynccontextmanager
async def fleet_of(
    server: PostgresServer, folder: Path, controllers: tuple[str, ...]
) -> AsyncIterator[Fleet]:
    """No bridge yet."""
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        sims = {name: await stack.enter_async_context(Simulator(auth=OPEN)) for name in controllers}
        fleet = Fleet(folder, await server.new_database(), sims, receiver)
        try:
            yield fleet
        finally:
            for bridge in fleet.bridges:
                if not bridge._ended:
                    await bridge.kill()


async def get(bridge: BridgeProcess, path: str) -> tuple[int, Any]:
    """A page of a bridge: its status, and its JSON or text."""
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{bridge.port}{path}") as answer:
        return answer.status, await (answer.json() if path.startswith("/api") else answer.text())


async def test_a_leader_is_replaced(postgresql_server: PostgresServer, tmp_path: Path) -> None:
    """Whoever polls, reloads without a gap; killed, it is replaced in under 10 s, ended, at once; each
    transition is told once, and a bridge that stands by is ready and names the one that polls.
    """
    async with fleet_of(postgresql_server, tmp_path, ONE) as fleet:
        first = await fleet.add()
        await first.polls(1)
        second = await fleet.add()
        await second.wait(lambda _log: led_by(first) == {"emea"})
        assert await fleet.attending() in ([["poll:emea", "sink:hook"]] * several for several in (1, 2))
        await fleet.told()
        _, document = await get(second, "/api/v1/status")
        [controller] = document["controllers"]
        assert (controller["polling"], str(first.pid) in controller["leader"]) == (False, True)
        assert (await get(second, "/readyz"))[0] == 200
        assert str(first.pid) in (await second.run_command("status"))[1]
        assert not named("poll.done")(second.log)
        assert 'cmc_notify_leads{controller="emea"} 0.0' in (await get(second, "/metrics"))[1]

        begun = len(first.log)
        os.kill(first.pid, signal.SIGHUP)
        await first.wait(named("bridge.reloaded", begun))
        await first.polls(2)
        assert not any(line.get("event", "").startswith("lead.") for line in first.log[begun:])

        await first.kill()
        assert await fleet.until(lambda: named("poll.done")(second.log)) < 10
        await fleet.told()
        third = await fleet.add()
        begun_at = monotonic()
        assert await second.stop() == 0
        await third.polls(1)
        assert monotonic() - begun_at < 3
        await fleet.told()
        fleet.told_once()


async def test_a_leader_that_stood_still_commits_nothing(
    postgresql_server: PostgresServer, tmp_path: Path
) -> None:
    """Stopped in mid-poll for longer than its lead lasts, and woken when another polls: it stands by."""
    async with fleet_of(postgresql_server, tmp_path, ONE) as fleet:
        first = await fleet.add()
        await fleet.told()
        second = await fleet.add()
        await second.wait(lambda _log: led_by(first) == {"emea"})
        sim = fleet.sims["emea"]
        sim.faults.slow_for = 2
        with sim.outage("slow") as slow:
            while not slow.hits:  # noqa: ASYNC110  the simulator tells nobody of a request
                await asyncio.sleep(0.01)
            os.kill(first.pid, signal.SIGSTOP)  # its answer waits for it
        try:
            await second.polls(2)
            await fleet.told()
        finally:
            stood = len(first.log)
            os.kill(first.pid, signal.SIGCONT)
        await first.wait(named("lead.lost", stood))
        await fleet.told()
        await second.polls(3)
        assert not named("poll.done", stood + 1)(first.log)
        assert led_by(second) == {"emea"}
        fleet.told_once()
        assert await first.stop() == 0


async def test_controllers_are_spread(postgresql_server: PostgresServer, tmp_path: Path) -> None:
    """Two bridges lead two of four each; a third takes its share; when it dies, they share that."""
    async with fleet_of(postgresql_server, tmp_path, FOUR) as fleet:
        await fleet.add()
        await fleet.until(lambda: fleet.loads() == [4])
        await fleet.add()
        await fleet.until(lambda: fleet.loads() == [2, 2])
        await fleet.told()
        third = await fleet.add()
        await fleet.until(lambda: fleet.loads() == [1, 1, 2])
        await fleet.told()
        await third.kill()
        await fleet.until(lambda: fleet.loads() == [2, 2])
        await fleet.told()
        fleet.told_once()


async def test_a_store_that_goes_away_and_comes_back(
    postgresql_server: PostgresServer, tmp_path: Path
) -> None:
    """Without the store nobody leads and no process ends; with it, someone leads again and tells the rest."""
    async with fleet_of(postgresql_server, tmp_path, ONE) as fleet:
        first = await fleet.add()
        await fleet.told()
        second = await fleet.add()
        await asyncio.to_thread(postgresql_server.stop)
        try:
            await first.wait(named("lead.lost"))
        finally:
            await asyncio.to_thread(postgresql_server.start)
        await fleet.told()
        assert sum(map(len, map(led_by, (first, second)))) == 1
        fleet.told_once()
        for bridge in (first, second):
            reasons = [line["error"] for line in bridge.log if line.get("event") == "leadership.failed"]
            assert len(reasons) == len(set(reasons)) <= LoggedReasons.MOST
            assert await bridge.stop() == 0
