"""SIGHUP, SIGTERM and starts that fail, with a real bridge process."""

import asyncio
import os
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from support.bridge_process import BridgeProcess, Log, bridge

POLL = {"interval": "100ms", "idle_interval": "100ms"}


def config(controllers: dict[str, Simulator], **sinks: Receiver) -> dict[str, Any]:
    """Every controller is polled and every sink gets everything."""
    return {
        "controllers": {
            name: {"url": sim.url, "first_run": "all", "poll": POLL} for name, sim in controllers.items()
        },
        "sinks": {
            name: {"type": "webhook", "url": receiver.url, "timeout": "5s"}
            for name, receiver in sinks.items()
        },
        "routes": [{"sinks": [*sinks]}],
        "shutdown_grace": "3s",
    }


def fail_a_job(sim: Simulator) -> None:
    """One failed job more."""
    job = sim.jobs.add(feature_ids=[3], site_ids=[1])
    job.start()
    job.finish("Failed", error_text="no route")


def named(log: list[Log], event: str) -> list[Log]:
    """The log's lines of one kind."""
    return [line for line in log if line.get("event") == event]


async def reload(process: BridgeProcess, expected: str = "bridge.reloaded") -> None:
    """SIGHUP, and wait for what comes of it."""
    before = len(named(process.log, expected))
    os.kill(process.pid, signal.SIGHUP)
    await process.wait(lambda log: len(named(log, expected)) > before)


async def test_a_good_config_is_used_at_once(tmp_path: Path) -> None:
    """New sinks and routes are used, a controller that is gone is left alone, weak points are told."""
    async with (
        Receiver() as old,
        Receiver() as new,
        Simulator(auth=OPEN) as sim,
        Simulator(auth=OPEN) as gone,
    ):
        async with bridge(tmp_path, config({"emea": sim, "apac": gone}, hook=old)) as process:
            await process.polls(2)
            changed = config({"emea": sim}, hook=old, other=new)
            changed["log"] = {"level": "warning"}
            changed["sinks"]["hook"]["tls"] = {"verify": False}
            changed["http"] = {"listen": "127.0.0.1:1"}
            process.configure(changed)
            begun = len(process.log)
            os.kill(process.pid, signal.SIGHUP)
            await process.wait(lambda log: bool(named(log, "config.caution")))
            asked = len(gone.served)
            fail_a_job(sim)
            await new.wait(lambda r: len(r.accepted) == 1)
            await new.wait(lambda _r: len(gone.served) == asked)
            late = process.log[begun:]
            assert [line["keys"] for line in named(late, "bridge.reload_partial")] == [["http"]]
            assert any("sinks.hook.tls.verify" in line["caution"] for line in named(late, "config.caution"))
            assert not named(late, "poll.done")
            assert await process.stop() == 0
        assert len(gone.served) == asked


async def test_a_bad_config_is_refused_and_the_old_one_goes_on(tmp_path: Path) -> None:
    """Every problem is logged, nothing changes, and the log keeps its level."""
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        good = config({"emea": sim}, hook=receiver)
        async with bridge(tmp_path, good) as process:
            await process.polls(1)
            process.configure(good | {"rotues": [], "log": {"level": "error"}, "timezone": "Mars/Olympus"})
            await reload(process, "bridge.reload_refused")
            [refused] = named(process.log, "bridge.reload_refused")
            assert any("rotues" in problem for problem in refused["problems"])
            fail_a_job(sim)
            await receiver.wait(lambda r: len(r.accepted) == 1)
            await process.polls(2)
            process.configure(good)
            await reload(process)
            await process.polls(1)
            assert await process.stop() == 0


async def test_a_start_that_fails_ends_with_one_clear_line(tmp_path: Path) -> None:
    """A port that is taken, a store of a newer version: exit code 1, the reason, and no traceback."""
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        good = config({"emea": sim}, hook=receiver)
        with closing(sqlite3.connect(tmp_path / "newer.db")) as newer:
            newer.executescript(
                "CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES ('v9999')"
            )
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            cases: dict[str, dict[str, Any]] = {
                "http.listen": {"http": {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}},
                "newer cmc-notify": {"store": {"url": f"sqlite:///{tmp_path}/newer.db"}},
            }
            for reason, wrong in cases.items():
                process = BridgeProcess(tmp_path, good | wrong | {"log": {"level": "info"}})
                code, out, err = await process.run_command("run")
                assert (code, out) == (1, "")
                [line] = err.splitlines()
                assert line.startswith("error: ")
                assert reason in line


async def test_sigterm_while_it_starts_is_an_end_like_any_other(tmp_path: Path) -> None:
    """Whenever it comes after the process listens to signals, the exit code is 0 and the store is free."""
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        process = BridgeProcess(tmp_path, config({"emea": sim}, hook=receiver))
        starting = asyncio.create_task(process.start())
        async with asyncio.timeout(20):
            # The lock is taken at the very beginning of the start, after the signals are listened to.
            while not (tmp_path / "store.db.lock").exists():  # noqa: ASYNC110  another process makes it
                await asyncio.sleep(0.001)
        assert await process.stop() == 0
        await asyncio.gather(starting, return_exceptions=True)
        assert not [line for line in process.log if "Traceback" in str(line)]
        await process.start()
        assert await process.stop() == 0


async def test_a_second_sigterm_changes_nothing(tmp_path: Path) -> None:
    """Who is impatient gets the same orderly end."""
    async with Receiver() as receiver, Simulator(auth=OPEN) as sim:
        receiver.otherwise = ScriptedResponse(action="hang")
        async with bridge(tmp_path, config({"emea": sim}, hook=receiver)) as process:
            fail_a_job(sim)
            await receiver.wait(lambda r: len(r.requests) == 1)
            os.kill(process.pid, signal.SIGTERM)
            await process.wait(lambda log: bool(named(log, "dispatcher.finishing")))
            assert await process.stop() == 0
            assert named(process.log, "bridge.stopped")
