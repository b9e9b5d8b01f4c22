"""A bridge that waits for its store, and what it says meanwhile."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from cmc_notify.simulator import Simulator
from cmc_notify.simulator.receiver import Receiver
from support.bridge_process import BridgeProcess, Log

LINES_PER_SECOND = 30
"""Far less than a loop without a pause would log, and more than polls five times a second do."""
TRIES = 3


def config(sim: Simulator, receiver: Receiver, store: str | None = None) -> dict[str, Any]:
    """One controller, polled five times a second, and one receiver of everything."""
    poll = {"interval": "200ms", "idle_interval": "200ms"}
    made: dict[str, Any] = {
        "controllers": {"emea": {"url": sim.url, "first_run": "all", "poll": poll}},
        "sinks": {
            "hook": {"type": "webhook", "url": receiver.url, "retry": {"initial": "200ms", "max": "1s"}}
        },
        "routes": [{"sinks": ["hook"]}],
        "shutdown_grace": "3s",
    }
    return made | {"store": {"url": store}} if store else made


def fail_jobs(sim: Simulator, count: int, text: str = "no route") -> None:
    """So many failed jobs more."""
    for _ in range(count):
        job = sim.jobs.add(feature_ids=[3], site_ids=[1])
        job.start()
        job.finish("Failed", error_text=text)


def named(log: list[Log], event: str) -> list[Log]:
    """The log's lines of one kind."""
    return [line for line in log if line.get("event") == event]


async def page(process: BridgeProcess, path: str) -> tuple[int, str]:
    """Status and text of a page."""
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{process.port}{path}") as answer:
        return answer.status, await answer.text()


async def readiness(process: BridgeProcess, wanted: str, *, within: float = 20) -> None:
    """Wait until ``/readyz`` says something; it is asked anew whenever the log grows, and now and then."""
    said = ""
    try:
        async with asyncio.timeout(within):
            while wanted not in said:
                said = (await page(process, "/readyz"))[1]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"/readyz said {said!r} to the end, not {wanted!r}") from None


async def told(receiver: Receiver, count: int) -> None:
    """Wait for so many failed jobs; each was told once."""
    await receiver.wait(lambda r: len(finals(r)) >= count, timeout=30)
    assert sorted(finals(receiver).values()) == [1] * count


def finals(receiver: Receiver) -> Counter[int]:
    """How often each job's failure was accepted."""
    documents = [request.document for request in receiver.accepted]
    return Counter(each["job"]["id"] for each in documents if each["type"] == "job.failed")


def assert_quiet(process: BridgeProcess, since: int, seconds: float) -> None:
    """Few lines were logged since, and no traceback."""
    lines = process.log[since:]
    assert len(lines) <= LINES_PER_SECOND * (seconds + 1), Counter(line.get("event") for line in lines)
    assert "Traceback" not in str(lines)


@asynccontextmanager
async def waiting(
    folder: Path, settings: dict[str, Any], reason: str, event: str = "store.unavailable"
) -> AsyncIterator[BridgeProcess]:
    """A bridge whose store does not open: it listens, lives, says why on /readyz, and shows nothing else."""
    process = BridgeProcess(folder, settings)
    try:
        await process.start(event)
        [line] = named(process.log, event)
        assert re.search(reason, line["error"])
        assert (await page(process, "/healthz"))[0] == 200
        status, text = await page(process, "/readyz")
        assert status == 503
        assert re.search(reason, text)
        for path in ("/", "/api/v1/status", "/metrics", "/events/e1"):
            status, text = await page(process, path)
            assert status == 503
            assert "waits for its store" in text
            assert not re.search(reason, text)
        yield process
        assert named(process.log, "store.opened")
        assert_quiet(process, 0, 5)
        assert await process.stop() == 0
    finally:
        await process.kill()


# --- later ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def in_trouble(process: BridgeProcess, reason: str) -> AsyncIterator[None]:
    """While the store fails: /readyz and the log say why, several polls fail, and few lines are logged."""
    begun, line = time.monotonic(), len(process.log)
    await readiness(process, "the store can't be used")
    status, text = await page(process, "/readyz")
    assert status == 503
    assert re.search(reason, text)
    await process.wait(lambda log: len(named(log[line:], "poll.store_failed")) >= TRIES)
    assert any(re.search(reason, each["error"]) for each in named(process.log[line:], "poll.store_failed"))
    assert (await page(process, "/healthz"))[0] == 200
    yield
    assert_quiet(process, line, time.monotonic() - begun)
