"""Commands beside a running bridge: what it did can be read, and what went wrong can be mended."""

from pathlib import Path
from typing import Any

import msgspec

from cmc_notify.simulator import OPEN, Row, Simulator
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from support.bridge_process import bridge
from support.command_line import written

SERIAL = "V2AB00001"
TEXT = "rule 12 is unknown"


def config(folder: Path, sim_url: str, receiver_url: str) -> dict[str, Any]:
    """One controller, one webhook that gets failures and recoveries."""
    poll = {"interval": "200ms", "idle_interval": "200ms", "settle": "500ms"}
    return {
        "controllers": {"emea": {"url": sim_url, "first_run": "all", "poll": poll}},
        "sinks": {"hook": {"type": "webhook", "url": receiver_url}},
        "routes": [{"match": {"event": ["job.failed", "appliance.*"]}, "sinks": ["hook"]}],
        "store": {"url": f"sqlite:///{folder}/store.db"},
    }


async def test_without_a_store_it_says_so(tmp_path: Path, in_thread: Any) -> None:
    """Before the first run there is no store, and each command that needs it says so plainly."""
    file = written(tmp_path, config(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9"))
    for command in (["status"], ["deliveries"], ["failures"], ["deliveries", "retry", "--dead"]):
        code, out, err = await in_thread(*command, "--config", str(file))
        assert (code, out) == (1, "")
        assert "there is no store yet; start the bridge (cmc-notify run)" in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "store.db").exists()


async def test_a_dead_letter_is_mended(tmp_path: Path, in_thread: Any) -> None:
    """A dead letter is shown; its retry arrives under the same key, ``--again`` under a new one."""
    async with Receiver() as receiver, Simulator("empty", auth=OPEN) as sim:
        receiver.script.append(ScriptedResponse(status=422, body="no such queue"))
        sim.catalog.grow(4)
        job = sim.jobs.add(feature_ids=[3], rows=[Row(SERIAL, 3, "Completed", "Fail", TEXT)])
        job.start()
        job.finish("Failed")
        waiting = sim.jobs.add(feature_ids=[3])
        assert sim.url
        setting = config(tmp_path, sim.url, receiver.url)
        file = str(written(tmp_path, setting))

        async def ask(*arguments: str) -> Any:
            code, out, err = await in_thread(*arguments, "--json", "--config", file)
            assert (code, err) == (0, "")
            return msgspec.json.decode(out)

        async with bridge(tmp_path, setting) as process:
            await receiver.wait(lambda r: len(r.requests) == 1)
            await process.wait(lambda log: any(line.get("event") == "delivery.dead" for line in log))

            (dead,) = await ask("deliveries", "--state", "dead")
            assert dead["event_type"] == "job.failed"
            assert dead["job_id"] == job.id
            assert "422" in dead["last_error"]
            assert await ask("deliveries", "show", dead["key"]) == dead
            code, out, _ = await in_thread("status", "--config", file)
            assert code == 0
            assert "1 dead letter: cmc-notify deliveries --state dead" in out

            code, out, err = await process.run_command("deliveries", "retry", "--dead")
            assert (code, err) == (0, "")
            assert dead["key"] in out
            await receiver.wait(lambda r: len(r.requests) == 2, timeout=30)
            first, second = receiver.requests
            assert first.id == second.id == dead["key"]
            assert first.body == second.body

            (again,) = await ask("deliveries", "retry", dead["id"], "--again")
            assert again["key"] != dead["key"]
            await receiver.wait(lambda r: len(r.requests) == 3, timeout=30)
            assert receiver.requests[2].id == again["key"]

            (failure,) = await ask("failures")
            assert failure["key"] == f"emea/{SERIAL}/3"
            assert failure["error_text"] == TEXT
            status = await ask("status")
            assert status["controllers"][0]["open_failures"] == 1
            assert [each["id"] for each in status["open_jobs"]] == [waiting.id]
            assert await ask("failures", "close", failure["key"])
            assert await ask("failures") == []
            code, _, err = await in_thread("failures", "close", failure["key"], "--config", file)
            assert code == 1
            assert "there is no open failure" in err

            code, out, _ = await process.run_command("jobs", "cancel", str(waiting.id))
            assert (code, out) == (0, f"emea: job {waiting.id} is Canceled\n")
            assert waiting.status == "Canceled"
            assert await process.stop() == 0
