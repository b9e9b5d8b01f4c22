"""One run of bench/isolation.py: a simulated controller, a bridge or its peer, and receivers."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.events import Event, EventType, event_id, rfc3339
from cmc_notify.ports import ControllerMeta, PollCommit
from cmc_notify.simulator import OPEN, Row, Simulator
from cmc_notify.simulator.receiver import Received, Receiver, ScriptedResponse
from cmc_notify.store import open_store
from isolation_result import DEAD, GOOD, KEPT, LATE, ORDER, THROTTLED, Processor, Result, Run, seen_at


class Arrivals:
    """Receivers by sink, and when each first heard of which job: ``heard[sink][job] = (seen, arrived)``."""

    def __init__(self) -> None:
        self.receivers: dict[str, Receiver] = {}
        self.heard: dict[str, dict[int, tuple[float, float]]] = {}

    async def listen(self, stack: AsyncExitStack, run: Run, retry_after: int) -> None:
        """Open the receivers that ``run`` has, until the stack closes."""
        for name in ORDER if run.more else GOOD:
            receiver = Receiver(on_request=self._note(name) if name in GOOD else None)
            if run.failing and name == DEAD:
                receiver.otherwise = ScriptedResponse(action="hang")
            if run.failing and name == THROTTLED:
                receiver.otherwise = ScriptedResponse(429, headers={"Retry-After": str(retry_after)})
            self.receivers[name] = await stack.enter_async_context(receiver)

    def _note(self, sink: str) -> Callable[[Received], None]:
        heard = self.heard.setdefault(sink, {})

        def note(request: Received) -> None:
            arrived, document = time.time(), request.document
            heard.setdefault(document["job"]["id"], (seen_at(document["id"]), arrived))

        return note

    async def everywhere(self, number: int, within: float) -> bool:
        """Wait until every good sink has heard of that many jobs; False where that takes too long."""
        try:
            for name in GOOD:
                await self.receivers[name].wait(self._has(name, number), timeout=within)
        except TimeoutError:
            return False
        return True

    def _has(self, sink: str, number: int) -> Callable[[Receiver], bool]:
        return lambda _receiver: len(self.heard[sink]) >= number


async def push(sim: Simulator, number: int, rate: float) -> dict[int, float]:
    """Let jobs end at a steady rate; returns when each did. What is old is purged."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    ended: dict[int, float] = {}
    listed = deque(sim.jobs)
    for place in range(number):
        await asyncio.sleep(max(0.0, begun + place / rate - loop.time()))
        rows = [Row(f"V2AB{row:04}", 1, "Completed", "Success") for row in range(4)]
        now = sim.jobs.now
        job = sim.jobs.add(status="Success", rows=rows, push_time=now, completion_time=now)
        ended[job.id] = time.time()
        listed.append(job)
        if len(listed) > KEPT * rate:
            listed.popleft().purge()
    return ended


def config(url: str, store: str, sinks: dict[str, str], given: argparse.Namespace) -> dict[str, Any]:
    """The bridge's config file. But for the pace of polls and the time-out it is as it comes."""
    pace = f"{given.interval}s"
    return {
        "controllers": {
            "bench": {"url": url, "first_run": "all", "poll": {"interval": pace, "idle_interval": pace}}
        },
        "store": {"url": store},
        "sinks": {
            name: {"type": "webhook", "url": address, "timeout": f"{given.timeout}s"}
            for name, address in sinks.items()
        },
        "routes": [{"match": {"event": ["job.*"]}, "sinks": list(sinks)}],
        "http": {"listen": "127.0.0.1:0"},
    }


@asynccontextmanager
async def process(folder: Path, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process that is ended with the block; what it says goes to a file in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CMC_NOTIFY_")}
    with (folder / "log").open("wb") as log:
        started = await asyncio.create_subprocess_exec(sys.executable, *command, env=kept, stderr=log)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def measure(run: Run, store: str, given: argparse.Namespace) -> Result:
    """One run, from an empty store (but for the backlog) to the last delivery."""
    arrivals = Arrivals()
    sim = Simulator(auth=OPEN)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await arrivals.listen(stack, run, given.retry_after)
        url = await sim.start()
        stack.push_async_callback(sim.stop)
        if run.backlog:
            await load(store, given.backlog)
        sinks = {name: receiver.url for name, receiver in arrivals.receivers.items()}
        settings = config(url, store, sinks, given)
        (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = ["-m", "cmc_notify", "run", "--config", str(folder / "config.yaml")]
        if run.naive:
            peer = str(Path(__file__).with_name("isolation.py"))
            command = [peer, "--naive", url, str(given.timeout), str(given.interval), *sinks.values()]
        processor = Processor()
        async with process(folder, *command):
            await push(sim, 1, given.rate)
            if not run.naive and not await arrivals.everywhere(1, LATE):
                raise RuntimeError(f"{run.name}: nothing arrives\n{(folder / 'log').read_text()[-2000:]}")
            await push(sim, int(given.rate * given.warm_up), given.rate)
            ended = await push(sim, int(given.rate * given.seconds), given.rate)
            await arrivals.everywhere(len(sim.history), 0.1 if run.naive else LATE)
        now = time.time()
        cpu, foreign = processor.used()
        heard = [arrivals.heard[name] for name in GOOD]
        unheard = [(moment, now) for each in heard for job, moment in ended.items() if job not in each]
        times = unheard + [each[job] for each in heard for job in ended if job in each]
        return Result(
            delays=[arrived - seen for seen, arrived in times],
            missing=len(unheard),
            cpu=cpu,
            foreign=foreign,
            requests={
                name: len(each.requests) for name, each in arrivals.receivers.items() if name not in GOOD
            },
        )


async def load(url: str, number: int) -> None:
    """Give the dead sink deliveries that another controller's jobs left, due now, each with a key of its
    own.
    """
    store = await open_store(url, clock=time.time, exclusive=True)
    now = time.time()
    told = [
        Event(
            id=event_id(now, place, "history", place),
            type=EventType.JOB_SUCCEEDED,
            time=rfc3339(now) or "",
            severity="info",
            controller="history",
        )
        for place in range(number)
    ]
    waiting = [
        NewDelivery(
            id=f"{event.id}-{DEAD}",
            event_id=event.id,
            sink=DEAD,
            subject="job",
            ordering_key=event.id,
            due_at=now,
            deadline_at=now + 86_400,
        )
        for event in told
    ]
    await store.poll.commit_poll(
        PollCommit(
            controller="history",
            expected_version=0,
            meta=ControllerMeta(first_run_done=True),
            events=tuple(told),
            deliveries=tuple(waiting),
        )
    )
    await store.close()


async def naive(url: str, patience: float, interval: float, sinks: Sequence[str]) -> None:
    """The peer: polls as often as the bridge does, and posts what is new to each sink in turn."""
    fresh: asyncio.Queue[bytes] = asyncio.Queue()
    known: set[int] = set()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience)) as session:

        async def poll() -> None:
            for number in count():
                async with session.get(f"{url}/api/cmc.configurator/1.0/jobs") as response:
                    found = msgspec.json.decode(await response.read())
                now = time.time()
                for job in found:
                    if job["id"] not in known:
                        known.add(job["id"])
                        body = {"id": event_id(now, 0, job["id"], number), "job": job}
                        fresh.put_nowait(msgspec.json.encode(body))
                await asyncio.sleep(interval)

        async def deliver() -> None:
            while True:
                body = await fresh.get()
                for sink in sinks:
                    try:
                        async with session.post(sink, data=body) as response:
                            await response.read()
                    except (aiohttp.ClientError, TimeoutError):
                        continue

        await asyncio.gather(poll(), deliver())
