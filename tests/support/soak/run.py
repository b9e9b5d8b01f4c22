"""One soak from its start to its end: everything is started, disturbed, calmed, drained, and read out."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from cmc_notify.simulator import Simulator
from support.soak.chaos import Chaos, weather
from support.soak.fleet import Fleet
from support.soak.history import runs
from support.soak.plan import Plan
from support.soak.receivers import Receivers
from support.soak.record import Record
from support.soak.store import Store, ledger, pending
from support.soak.story import SPEED, Story

AUTH = {"method": "access_code", "access_code": "simulated-access-code"}
_ASK_AGAIN = 0.2
_SAMPLE, _SAMPLE_EVERY = 0.01, 0.5


async def soak(
    plan: Plan, store: Store, folder: Path, *, progress: Callable[[str], None] = lambda _line: None
) -> Record:
    """Play it and return what was seen. ``folder`` is for config files; ``progress`` is told the phases."""
    began = time.monotonic()
    record = Record(sinks=plan.sinks, replicas=plan.replicas)
    async with AsyncExitStack() as stack:
        sims = {f"cmc{number}": Simulator(speed=SPEED) for number in range(1, plan.controllers + 1)}
        for sim in sims.values():
            await stack.enter_async_context(sim)
        receivers = Receivers(plan, record)
        await receivers.start()
        stack.push_async_callback(receivers.stop)
        config = _config(plan, store, {name: str(sim.url) for name, sim in sims.items()})
        fleet = Fleet(plan, record, folder=folder, config=config, sinks=receivers.urls)
        stack.callback(fleet.kill_all)
        async with asyncio.timeout(plan.drain):
            await fleet.start()
        progress(f"{plan.replicas} replicas run")
        over = asyncio.Event()
        stories = [
            asyncio.create_task(Story(name, sim, plan, receivers).play(over)) for name, sim in sims.items()
        ]
        stack.push_async_callback(_end, *stories)
        chaos = Chaos(plan, record, fleet=fleet, receivers=receivers, store=store)
        storms = [weather(plan, name, sim) for name, sim in sims.items()]
        await stack.enter_async_context(_while([_feel(record)]))
        async with _while([*chaos.tasks(), *storms]):
            await _play(plan, receivers)
        receivers.calm = True
        over.set()
        progress(f"chaos over after {time.monotonic() - began:.0f} s; everything drains")
        record.drained = await _drained(plan, fleet, store, stories)
        await fleet.stop()
    record.told, record.rows = await ledger(store)
    record.runs = [run for name, sim in sims.items() for run in runs(name, sim.history)]
    record.seconds = time.monotonic() - began
    return record


def _config(plan: Plan, store: Store, urls: dict[str, str]) -> dict[str, Any]:
    """Short intervals and time-outs, so that an outage of seconds is one; nothing is told silently."""
    poll = {
        "interval": plan.poll,
        "idle_interval": plan.poll,
        "timeout": "1s",
        "settle": "1s",
        "full_sync": "20s",
    }
    return {
        "controllers": {
            name: {"url": url, "first_run": "all", "auth": AUTH, "poll": poll, "overdue": {}}
            for name, url in urls.items()
        },
        "routes": [{"sinks": list(plan.sinks)}],
        "store": {"url": store.url},
        "http": {"listen": "127.0.0.1:0"},
        "log": {"level": "debug"},
    }


async def _feel(record: Record) -> None:
    """Note how busy the machine is, by a little work of a known size."""
    while True:
        began, worked = time.monotonic(), time.thread_time()
        while (spent := time.thread_time() - worked) < _SAMPLE:
            pass
        now = time.monotonic()
        record.slowness.append((now, (now - began) / spent))
        await asyncio.sleep(_SAMPLE_EVERY)


async def _play(plan: Plan, receivers: Receivers) -> None:
    """As long as asked for, or until enough was told."""
    try:
        async with asyncio.timeout(plan.seconds):
            if plan.transitions is None:
                await asyncio.Event().wait()
            else:
                await receivers.transitions(plan.transitions)
    except TimeoutError:
        pass


async def _drained(plan: Plan, fleet: Fleet, store: Store, stories: list[asyncio.Task[None]]) -> bool:
    """Whether all that was to be told was, in time."""
    try:
        async with asyncio.timeout(plan.drain):
            await asyncio.gather(*stories)
            await fleet.wait(lambda: fleet.working == plan.replicas)
            # A controller's or a sink's own recovery may be told last: nothing is left only if, after one
            # more poll of each controller, that is still so.
            while True:
                await _empty(store)
                await fleet.quiet(plan.controllers)
                if await pending(store) == 0:
                    return True
    except TimeoutError:
        return False


async def _empty(store: Store) -> None:
    while await pending(store) != 0:  # noqa: ASYNC110  other processes empty it
        await asyncio.sleep(_ASK_AGAIN)


@asynccontextmanager
async def _while(coroutines: list[Coroutine[object, object, None]]) -> AsyncIterator[None]:
    """Let them run during the block; what one of them raises is raised at its end."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        await _end(*tasks)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
