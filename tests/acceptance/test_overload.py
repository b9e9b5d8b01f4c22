"""Receivers that are dead, limited or gone, beside one that works, seen by a real bridge process."""

import json
import os
import signal
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Received, Receiver, ScriptedResponse
from support.bridge_process import BridgeProcess, Log, bridge

BRIEF = {"initial": "100ms", "max": "500ms"}
JOBS = 3
WISH = 2
"""Seconds of the Retry-After."""
IN_TIME = 10.0
"""Seconds from commit to receipt at a receiver that works; far below what the others make theirs wait."""


def config(sim: Simulator, **sinks: tuple[Receiver, dict[str, Any]]) -> dict[str, Any]:
    """Every sink gets every event of every job."""
    poll = {"interval": "100ms", "idle_interval": "100ms"}
    return {
        "controllers": {"emea": {"url": sim.url, "first_run": "all", "poll": poll}},
        "sinks": {
            name: {"type": "webhook", "url": receiver.url, "timeout": "400ms", "retry": BRIEF} | given
            for name, (receiver, given) in sinks.items()
        },
        "routes": [{"match": {"event": ["job.*"]}, "sinks": [*sinks]}],
        "shutdown_grace": "3s",
    }


async def play(sim: Simulator, good: Receiver, jobs: int) -> None:
    """Jobs that are queued, run and fail; each next step once the good receiver knows of the one before."""
    for _ in range(jobs):
        job = sim.jobs.add(feature_ids=[3], site_ids=[1])
        await one_more(good)
        job.start()
        await one_more(good)
        job.finish("Failed", error_text="no route")
        await one_more(good)


async def one_more(good: Receiver) -> None:
    """Wait for one message more than are taken now."""
    told = len(good.accepted)
    await good.wait(lambda r: len(r.accepted) > told, timeout=30)


def by_job(requests: list[Received]) -> dict[int, list[str]]:
    """What was told of each job, in the order in which it came."""
    told: dict[int, list[str]] = defaultdict(list)
    for request in requests:
        told[request.document["job"]["id"]].append(request.document["type"])
    return told


def answered(receiver: Receiver) -> list[str | None]:
    """The ids of what was taken, repeats included."""
    return [request.id for request in receiver.requests if request.status == 200]


def named(log: list[Log], event: str, **fields: object) -> list[Log]:
    """The log's lines of one kind."""
    wanted = {"event": event} | fields
    return [line for line in log if wanted.items() <= line.items()]


async def listed(process: BridgeProcess, *options: str) -> list[dict[str, Any]]:
    """The ledger, by the command line."""
    code, out, err = await process.run_command("deliveries", "list", "--json", "--limit", "500", *options)
    assert code == 0, err
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


def lasted(row: dict[str, Any]) -> float:
    """Seconds from a delivery's commit to its end."""
    return (datetime.fromisoformat(row["finished"]) - datetime.fromisoformat(row["created"])).total_seconds()


@pytest.mark.parametrize("manner", ["hang", "answer"])
async def test_what_is_wrong_with_others_costs_the_good_one_nothing(manner: Any, tmp_path: Path) -> None:
    """It hears of all in time; the limited one is left alone as long as it asked; the dead one, once it is
    back, is told everything, in order and once.
    """
    arrivals: list[float] = []
    limited = Receiver(on_request=lambda _request: arrivals.append(time.monotonic()))
    async with Receiver() as good, Receiver() as dead, limited, Simulator(auth=OPEN) as sim:
        dead.otherwise = ScriptedResponse(status=503, action=manner)
        limited.script.append(ScriptedResponse(status=429, headers={"Retry-After": str(WISH)}))
        setting = config(sim, good=(good, {}), dead=(dead, {}), limited=(limited, {"timeout": "5s"}))
        async with bridge(tmp_path, setting) as process:
            await play(sim, good, JOBS)
            await process.wait(lambda log: bool(named(log, "sink.circuit_opened", sink="dead")))
            assert not dead.accepted
            dead.otherwise = ScriptedResponse()
            await dead.wait(lambda r: len(r.accepted) == 3 * JOBS, timeout=30)
            await limited.wait(lambda r: len(r.accepted) == 3 * JOBS, timeout=30)
            await process.drained()
            rows = await listed(process, "--sink", "good")
            assert await process.stop() == 0
        assert len(rows) == 3 * JOBS
        assert max(lasted(row) for row in rows) < IN_TIME
        assert arrivals[1] - arrivals[0] >= WISH
        assert len(named(process.log, "sink.throttled", sink="limited")) == 1
        assert named(process.log, "sink.circuit_closed", sink="dead")
        assert not named(process.log, "sink.circuit_opened", sink="good")
        for receiver in (good, dead, limited):
            assert by_job(receiver.accepted) == by_job(good.accepted)
            assert len(answered(receiver)) == 3 * JOBS
        assert set(map(tuple, by_job(good.accepted).values())) == {
            ("job.queued", "job.started", "job.failed")
        }


async def test_deadlines_pass_in_time_while_a_dead_sink_rests(tmp_path: Path) -> None:
    """What is not told by its deadline is a dead letter then, unsent if need be, and the fallback is told."""
    async with Receiver() as good, Receiver() as dead, Receiver() as backup, Simulator(auth=OPEN) as sim:
        dead.otherwise = ScriptedResponse(status=503)
        # The circuit opens at the fifth failure, and rests for longer than anything may wait.
        patience = {"initial": "20s", "max": "60s", "deadline": "3s"}
        setting = config(
            sim, good=(good, {}), dead=(dead, {"retry": patience, "fallback": "backup"}), backup=(backup, {})
        )
        setting["routes"][0]["sinks"] = ["good", "dead"]
        async with bridge(tmp_path, setting) as process:
            await play(sim, good, 5)
            await process.wait(lambda log: bool(named(log, "sink.circuit_opened", sink="dead")))
            tried = len(dead.requests)
            await play(sim, good, 2)
            await backup.wait(lambda r: len(r.accepted) == 21, timeout=30)
            await process.drained()
            rows = await listed(process, "--state", "dead")
            assert await process.stop() == 0
        assert len(dead.requests) == tried
        assert {row["sink"] for row in rows} == {"dead"}
        assert len(rows) == 21
        assert all("deadline" in row["last_error"] and "503" in row["last_error"] for row in rows)
        assert any(row["attempts"] == 0 for row in rows)
        assert max(lasted(row) for row in rows) < 3 + IN_TIME
        assert by_job(backup.accepted) == by_job(good.accepted)


async def test_what_waits_for_a_removed_sink_is_a_dead_letter_until_the_sink_is_back(tmp_path: Path) -> None:
    """A reload without the sink tells how much that is; with it again, a retry sends it all, in order."""
    async with Receiver() as good, Receiver() as gone, Simulator(auth=OPEN) as sim:
        gone.otherwise = ScriptedResponse(status=503)
        both = config(sim, good=(good, {}), gone=(gone, {}))
        async with bridge(tmp_path, both) as process:
            await play(sim, good, 2)
            await gone.wait(lambda r: len(r.requests) > 2, timeout=30)
            process.configure(config(sim, good=(good, {})))
            os.kill(process.pid, signal.SIGHUP)
            await process.wait(lambda log: bool(named(log, "outbox.sink_removed")))
            [told] = named(process.log, "outbox.sink_removed")
            assert (told["sink"], told["dead"]) == ("gone", 6)
            rows = await listed(process, "--state", "dead")
            assert [(row["sink"], row["last_error"]) for row in rows] == [
                ("gone", "sink gone is no longer in the config")
            ] * 6
            gone.otherwise = ScriptedResponse()
            process.configure(both)
            os.kill(process.pid, signal.SIGHUP)
            await process.wait(lambda log: len(named(log, "bridge.reloaded")) == 2)
            assert not gone.accepted
            code, _out, err = await process.run_command("deliveries", "retry", "--dead")
            assert code == 0, err
            await gone.wait(lambda r: len(r.accepted) == 6, timeout=30)
            await process.drained()
            assert await process.stop() == 0
        assert by_job(gone.accepted) == by_job(good.accepted)
        assert len(answered(gone)) == 6
