"""What a poll costs on a controller with years of history: 5,000 jobs of 60 rows in one list.

The real poller asks a simulated controller (a process of its own) over loopback, up to the commit. Filters
are ignored there, so each poll reads the whole list: the worst case. In the same run, on the same bytes,
stand a floor (the body fetched and thrown away) and a peer (fetched, then ``json.loads``, as a cron script
does). Quote the ratios: absolute times say more of the machine.

    python bench/poll.py [--jobs N] [--rows N] [--rounds N]
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from cmc_notify.controller import Controller
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Route
from cmc_notify.poller import NotifyRules, Poller
from cmc_notify.settings.controller import ControllerSettings
from cmc_notify.simulator import OPEN, Quirks, Simulator
from cmc_notify.store import open_store
from cmc_notify.telemetry import Metrics, configure_logging

CHANGED = 10


async def serve(jobs: int, rows: int) -> None:
    """The controller: prints its address, lets ten jobs be run again for each line that it reads."""
    sim = Simulator(
        "large",
        speed=0,
        quirks=Quirks(filters_ignored=True, missing="null"),
        auth=OPEN,
        jobs=jobs,
        rows=rows,
        open_jobs=2,
    )
    say(await sim.start())
    rounds = 0
    while await asyncio.to_thread(sys.stdin.readline):
        rounds += 1
        for job in list(sim.jobs)[rounds * CHANGED : (rounds + 1) * CHANGED]:
            job.set(push_time=job.get("push_time") + 1, completion_time=job.get("completion_time") + 1)
        say("changed")
    await sim.stop()


def say(line: str) -> None:
    """One line to whoever started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Wall and processor seconds of one piece of work."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(rounds: int, jobs: int, rows: int) -> None:
    """Run everything and print the table."""
    command = [sys.executable, __file__, "--serve", "--jobs", str(jobs), "--rows", str(rows)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        assert server.stdin
        assert server.stdout
        url = server.stdout.readline().strip()
        try:
            asyncio.run(rounds_of(rounds, url, folder, server))
        finally:
            server.stdin.close()


async def rounds_of(rounds: int, url: str, folder: str, server: "subprocess.Popen[str]") -> None:
    """Alternate the candidates, so that the machine's moods hit all of them."""
    assert server.stdin
    assert server.stdout
    store = await open_store(f"sqlite:///{folder}/bench.db", clock=time.time, exclusive=True)
    controller = Controller("bench", ControllerSettings(url=url, first_run="open"))
    telling = NotifyRules(routes=(Route(sinks=("screen",)),), sinks={"screen": SinkProfile()})
    poller = Poller(
        "bench",
        controller,
        store.poll,
        ControllerSettings(url=url, first_run="open"),
        telling,
        clock=time.time,
        metrics=Metrics(),
    )
    address = f"{url}/api/cmc.configurator/1.0/jobs"
    seen: dict[str, list[tuple[float, float]]] = {}
    async with aiohttp.ClientSession(read_bufsize=256 * 1024) as session:

        async def fetch() -> bytes:
            async with session.get(address) as response:
                return await response.read()

        async def fetch_and_parse() -> None:
            json.loads(await fetch())

        async def poll() -> None:
            result = await poller.poll()
            assert result.ok, result.error

        size = len(await fetch())
        seen["first poll (everything is new)"] = [await timed(poll)]
        await poll()
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told = len(await store.ledger.events(limit=1000))
        for _ in range(rounds):
            for name, work in (
                ("floor: fetch", fetch),
                ("peer: fetch + json.loads", fetch_and_parse),
                ("poll, unchanged", poll),
            ):
                seen.setdefault(name, []).append(await timed(work))
            server.stdin.write("\n")
            server.stdin.flush()
            await asyncio.to_thread(server.stdout.readline)
            seen.setdefault(f"poll, {CHANGED} jobs changed", []).append(await timed(poll))
            assert len(await store.ledger.events(limit=1000)) >= told + 2 * CHANGED
            told = len(await store.ledger.events(limit=1000))
    await controller.close()
    await store.close()
    report(seen, size, base)


def report(seen: dict[str, list[tuple[float, float]]], size: int, base: int) -> None:
    """Medians, and their ratios to the peer."""
    peer = statistics.median(wall for wall, _ in seen["peer: fetch + json.loads"])
    say(f"one list: {size / 1e6:.1f} MB")
    say(f"{'':34}{'wall ms':>9}{'cpu ms':>9}{'of peer':>9}")
    for name, times in seen.items():
        wall, cpu = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
        say(f"{name:34}{wall:9.0f}{cpu:9.0f}{wall / 1000 / peer:9.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    say(f"peak memory: {base / 1024:.0f} MB after two polls, {peak / 1024:.0f} MB with the peer's")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    configure_logging("console", "warning", sys.stderr)
    if given.serve:
        asyncio.run(serve(given.jobs, given.rows))
    else:
        measure(given.rounds, given.jobs, given.rows)


if __name__ == "__main__":
    main()
