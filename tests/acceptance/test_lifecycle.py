"""SIGTERM and SIGKILL in the middle of deliveries, and a second run over the same store."""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from support.bridge_process import BridgeProcess, bridge

JOBS = 12


def config(sim_url: str, receiver_url: str, **sink: Any) -> dict[str, Any]:
    """One controller, one webhook that gets everything."""
    return {
        "controllers": {
            "emea": {
                "url": sim_url,
                "first_run": "all",
                "poll": {"interval": "200ms", "idle_interval": "200ms", "settle": "1s"},
            }
        },
        "sinks": {
            "hook": {
                "type": "webhook",
                "url": receiver_url,
                "retry": {"initial": "200ms", "max": "1s"},
                **sink,
            }
        },
        "routes": [{"sinks": ["hook"]}],
        "shutdown_grace": "3s",
    }


def add_failed_jobs(sim: Simulator, count: int) -> None:
    """Jobs that failed before they reached any appliance."""
    for _ in range(count):
        job = sim.jobs.add(feature_ids=[3], site_ids=[1])
        job.start()
        job.finish("Failed", error_text="no route to the interpreter")


def told(receiver: Receiver) -> Counter[str]:
    """How often each event was accepted, repeats of one webhook-id counted once."""
    return Counter(request.document["id"] for request in receiver.accepted)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_an_end_in_the_middle_loses_nothing(how: signal.Signals, tmp_path: Path) -> None:
    """However the bridge ends while it delivers, the next start sends exactly the rest."""
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        add_failed_jobs(sim, JOBS)
        assert sim.url
        process = BridgeProcess(tmp_path, config(sim.url, receiver.url, concurrency=2, timeout="2s"))
        receiver.script.extend([ScriptedResponse()] * 3)
        receiver.otherwise = ScriptedResponse(action="hang")
        await process.start()
        await receiver.wait(lambda r: len(r.requests) >= 5)
        code = await process.stop(how)
        assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL)
        in_flight = {request.id for request in receiver.requests if request.status is None}
        assert len(in_flight) == 2

        receiver.otherwise = ScriptedResponse()
        await process.start()
        await receiver.wait(lambda r: len(r.accepted) == JOBS)
        await process.polls(3)
        assert await process.stop() == 0

        assert sorted(told(receiver).values()) == [1] * JOBS
        repeated = {key for key, times in Counter(r.id for r in receiver.requests).items() if times > 1}
        assert repeated == in_flight


async def test_a_second_run_over_the_same_store_tells_nothing(tmp_path: Path) -> None:
    """What was told is not told again after a restart; what changed while it was down is."""
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        add_failed_jobs(sim, 2)
        assert sim.url
        setting = config(sim.url, receiver.url)
        async with bridge(tmp_path, setting) as process:
            await receiver.wait(lambda r: len(r.accepted) == 2)
            assert await process.stop() == 0
        async with bridge(tmp_path, setting) as process:
            await process.polls(3)
            assert await process.stop() == 0
        assert len(receiver.requests) == 2

        add_failed_jobs(sim, 1)
        async with bridge(tmp_path, setting) as process:
            await receiver.wait(lambda r: len(r.accepted) == 3)
            await process.polls(3)
            assert await process.stop() == 0
        assert len(receiver.requests) == 3
        assert receiver.requests[-1].document["type"] == "job.failed"


async def test_sigterm_ends_within_the_grace(tmp_path: Path) -> None:
    """A receiver that never answers does not hold the end up beyond the grace."""
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        receiver.otherwise = ScriptedResponse(action="hang")
        add_failed_jobs(sim, 1)
        assert sim.url
        async with bridge(tmp_path, config(sim.url, receiver.url, timeout="60s")) as process:
            await receiver.wait(lambda r: len(r.requests) == 1)
            started = asyncio.get_running_loop().time()
            assert await process.stop() == 0
            assert asyncio.get_running_loop().time() - started < 3 + 5


async def test_a_second_bridge_on_the_same_store_is_refused(tmp_path: Path) -> None:
    """One process holds a SQLite store; another ends with a clear error and harms nothing."""
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        assert sim.url
        async with bridge(tmp_path, config(sim.url, receiver.url)) as process:
            code, _out, err = await process.run_command("run")
            assert code == 1
            assert str(process.pid) in err
            await process.polls(1)
