"""A night behind a bad line: nothing lost, nothing doubled, each outage told once and its end once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.simulator import Simulator
from cmc_notify.simulator.faults import FaultKind
from cmc_notify.simulator.receiver import Receiver
from support.bridge_process import BridgeProcess, bridge
from support.oracle.expected_events import compare, expected

AUTH = {"method": "access_code", "access_code": "simulated-access-code"}


def config(sims: dict[str, Simulator], receiver: Receiver) -> dict[str, Any]:
    """Short time-outs, so that an outage of seconds is one."""
    poll = {"interval": "300ms", "idle_interval": "300ms", "timeout": "800ms", "settle": "1s"}
    return {
        "controllers": {
            name: {"url": sim.url, "first_run": "all", "auth": AUTH, "poll": poll, "overdue": {}}
            for name, sim in sims.items()
        },
        "sinks": {"hook": {"type": "webhook", "url": receiver.url}},
        "routes": [{"sinks": ["hook"]}],
    }


def about(receiver: Receiver, controller: str) -> list[dict[str, Any]]:
    """The events of one controller in the order of arrival."""
    return [request.document for request in receiver.requests if request.document["controller"] == controller]


@pytest.mark.timeout(240)
async def test_a_bad_line_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Time-outs, 500s, cut and slow bodies, garbage and lost sessions in bursts, on three controllers."""
    async with Receiver() as receiver:
        sims = {
            f"cmc{seed}": Simulator("flaky", seed=seed, speed=60, appliances=12, outage=150)
            for seed in (1, 2, 3)
        }
        await asyncio.gather(*(sim.start() for sim in sims.values()))
        async with bridge(tmp_path, config(sims, receiver)) as process:
            await asyncio.gather(*(sim.wait_finished() for sim in sims.values()))
            await process.polls(12, within=60)
            await process.drained()
            assert await process.stop() == 0
        await asyncio.gather(*(sim.stop() for sim in sims.values()))

    assert len({request.id for request in receiver.requests}) == len(receiver.requests)
    for name, sim in sims.items():
        assert len([outage for outage in sim.faults.outages if outage.hits]) >= 4
        told = about(receiver, name)
        assert compare(expected(sim, first_run="all", settle=None), told) == []
        finals = [document for document in told if document["type"] == "job.failed"]
        assert finals, "the night has failures"
        line = [document["type"] for document in told if document["type"].startswith("controller.")]
        assert line.count("controller.recovered") >= 1
        assert_alternating(line)


def assert_alternating(line: list[str]) -> None:
    """An outage is told once, whatever it becomes, and ends once before another one begins."""
    open_kinds: set[str] = set()
    for kind in line:
        if kind == "controller.recovered":
            assert open_kinds, line
            open_kinds.clear()
        else:
            assert kind not in open_kinds, line
            open_kinds.add(kind)
    assert not open_kinds, line


Trouble = Callable[[Simulator], None]


@pytest.mark.parametrize("kind", ["timeout", "500", "503", "cut", "refuse", "garbage", "401"])
async def test_each_outage_is_told_once_and_its_end_once(kind: FaultKind, tmp_path: Path) -> None:
    """Two outages: twice unreachable (or unauthorized), twice recovered, in turn, with reason and since;
    what happened meanwhile is told when the controller is back.
    """
    lost = "controller.unauthorized" if kind == "401" else "controller.unreachable"
    async with (
        Receiver() as receiver,
        Simulator() as sim,
        bridge(tmp_path, config({"cmc": sim}, receiver)) as process,
    ):
        await process.polls(2)
        for outage in (1, 2):
            with sim.outage(kind):
                job = sim.jobs.add(feature_ids=[3], site_ids=[1])
                job.start()
                job.finish("Failed", error_text=f"outage {outage}")
                await _told(receiver, lost, outage)
                await _three_more_failures(process)
            await _told(receiver, "job.failed", outage)
        await process.polls(2)
        await process.drained()
        assert await process.stop() == 0
    line = [document for document in about(receiver, "cmc") if document["type"].startswith("controller.")]
    assert [document["type"] for document in line] == [lost, "controller.recovered"] * 2
    assert all(document["reason"] for document in line[::2])
    assert all(document["since"] for document in line)


async def test_a_session_lost_in_mid_life_is_renewed_and_not_told(tmp_path: Path) -> None:
    """An expired token, a revoked one, one 401: the bridge signs in again and nobody hears of it."""
    async with Receiver() as receiver, Simulator() as sim:
        troubles: list[Trouble] = [
            lambda sim: sim.sign_in.expire_tokens(),
            lambda sim: sim.sign_in.revoke_tokens(),
            lambda sim: sim.fail_next("401", path="/jobs"),
        ]
        async with bridge(tmp_path, config({"cmc": sim}, receiver)) as process:
            await process.polls(2)
            for trouble in troubles:
                before = sim.sign_in.count
                trouble(sim)
                await process.polls(2)
                assert sim.sign_in.count == before + 1
            assert not [line for line in process.log if line.get("event") == "poll.failed"]
            assert await process.stop() == 0
    assert receiver.requests == []


async def test_a_dead_controller_does_not_delay_another(tmp_path: Path) -> None:
    """While one controller answers nothing, another one's failure is told as fast as ever."""
    async with (
        Receiver() as receiver,
        Simulator() as dead,
        Simulator() as alive,
        bridge(tmp_path, config({"dead": dead, "alive": alive}, receiver)) as process,
    ):
        await process.polls(2)
        with dead.outage("timeout"):
            await _told_within(2.0, alive, receiver)
        assert await process.stop() == 0


async def _told_within(seconds: float, sim: Simulator, receiver: Receiver) -> None:
    job = sim.jobs.add(feature_ids=[3], site_ids=[1])
    job.start()
    job.finish("Failed", error_text="now")
    await receiver.wait(lambda r: "job.failed" in _types(r), timeout=seconds)


async def _told(receiver: Receiver, kind: str, times: int) -> None:
    await receiver.wait(lambda r: _types(r).count(kind) == times, timeout=30)


async def _three_more_failures(process: BridgeProcess) -> None:
    before = _failed_polls(process.log)
    await process.wait(lambda log: _failed_polls(log) >= before + 3)


def _types(receiver: Receiver) -> list[str]:
    return [request.document["type"] for request in receiver.requests]


def _failed_polls(log: list[dict[str, Any]]) -> int:
    return sum(1 for line in log if line.get("event") == "poll.failed")
