"""Silences beside a real bridge: what matches is not told, everything else is, and the ledger says so."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cmc_notify.simulator import OPEN, Row, SimulatedJob, Simulator
from cmc_notify.simulator.receiver import Receiver
from cmc_notify.store import open_store
from support.bridge_process import bridge
from support.command_line import Ended, written

FAIL = ("Completed", "Fail", "rule 12 is unknown")


def config(folder: Path, sim_url: str, receiver_url: str) -> dict[str, Any]:
    """One controller, one webhook that gets failures and recoveries."""
    poll = {"interval": "100ms", "idle_interval": "100ms", "settle": "500ms"}
    return {
        "controllers": {"emea": {"url": sim_url, "first_run": "all", "poll": poll}},
        "sinks": {"hook": {"type": "webhook", "url": receiver_url}},
        "routes": [{"match": {"event": ["job.failed", "appliance.*"]}, "sinks": ["hook"]}],
        "store": {"url": f"sqlite:///{folder}/store.db"},
    }


def finished(sim: Simulator, *failed: str, succeeded: tuple[str, ...] = ()) -> SimulatedJob:
    """A job of feature 3 that failed on some appliances, or succeeded."""
    rows = [Row(serial, 3, *FAIL) for serial in failed]
    rows += [Row(serial, 3, "Completed", "Success") for serial in succeeded]
    job = sim.jobs.add(feature_ids=[3], rows=rows)
    with job.change():
        job.start()
        job.finish("Failed" if failed else "Success")
    return job


async def test_a_silence_hides_what_matches_until_it_ends(tmp_path: Path, in_thread: Any) -> None:
    """Added, listed and ended by command; the failures stay open, the recovery goes to who was told."""
    async with Receiver() as receiver, Simulator("empty", auth=OPEN) as sim:
        sim.catalog.grow(4)
        assert sim.url
        setting = config(tmp_path, sim.url, receiver.url)
        file = str(written(tmp_path, setting))

        async def ask(*arguments: str) -> Any:
            code, out, err = await in_thread(*arguments, "--json", "--config", file)
            assert (code, err) == (0, "")
            return msgspec.json.decode(out)

        async def told(count: int) -> dict[str, Any]:
            await receiver.wait(lambda r: len(r.requests) == count, timeout=30)
            document: dict[str, Any] = msgspec.json.decode(receiver.requests[-1].body)
            return document

        async with bridge(tmp_path, setting) as process:
            code, out, err = await process.run_command(
                "silences", "add", "serial=V1*", "controller=em*", "--duration", "4h", "--comment", "new box"
            )
            assert (code, err) == (0, "")
            kept = (await ask("silences", "add", "serial=V4", "-d", "1d", "--author", "Zoë"))["id"]
            assert [each["id"] for each in await ask("silences")] == [out.strip(), kept]

            silent = finished(sim, "V1")
            finished(sim, "V1", "V2", "V3", "V4")
            shown = await told(1)
            assert [each["serial"] for each in shown["failures"]] == ["V2", "V3"]
            assert shown["failures_outside_route"] == 2
            (row,) = await ask("deliveries", "--state", "silenced")
            assert (row["job_id"], row["event_type"], row["sink"]) == (silent.id, "job.failed", None)
            assert out.strip() in row["last_error"]
            assert "new box" in row["last_error"]
            _, said, _ = await in_thread("deliveries", "show", row["id"], "--config", file)
            assert "none: silenced" in said
            code, _, err = await in_thread("deliveries", "retry", row["id"], "--config", file)
            assert (code, "no route matched, silenced" in err) == (1, True)
            failures = {each["serial"]: each for each in await ask("failures")}
            assert {serial: each["sinks"] for serial, each in failures.items()} == {
                "V1": [], "V2": ["hook"], "V3": ["hook"], "V4": [],
            }  # fmt: skip

            assert await ask("silences", "expire", out.strip()) == [out.strip()]
            finished(sim, "V1", "V4")
            assert [each["serial"] for each in (await told(2))["failures"]] == ["V1"]

            finished(sim, succeeded=("V1", "V2", "V3", "V4"))
            back = await told(3)
            assert back["type"] == "appliance.recovered"
            assert [each["serial"] for each in back["recoveries"]] == ["V1", "V2", "V3"]
            rows = await ask("deliveries", "--state", "unrouted")
            beyond = [row["id"] for row in rows if row["event_type"] == "job.succeeded"]
            _, said, _ = await in_thread("deliveries", "show", beyond[0], "--config", file)
            assert "none: no route matched" in said
            assert await process.stop() == 0
        assert len(receiver.requests) == 3


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["serail=V2*"], """'serail=V2*': there is no matcher 'serail'; did you mean "serial"?"""),
        (["V2AB0001"], "'V2AB0001' is not a matcher; write key=value, as in silences add controller=emea"),
        (["controller=emae"], """controller: none matches 'emae'; did you mean "emea"?"""),
        (["controller=ap*"], "controller: none matches 'ap*'; there are emea"),
        (
            ["serial=~V2.*"],
            "'serial=~V2.*': regular expressions are not supported; write a glob, as in silences add",
        ),
        (["job=4x"], "job: '4x' is not a job id; write a whole number, for example 42"),
        (["serial="], "a matcher is empty"),
        (
            ["job=1", "--duration", "4 weeks"],
            "duration: '4 weeks' is not a duration; write for example 30m, 4h or 2d",
        ),
        (["job=1", "--duration", "4h", "--end", "2h"], "write either duration (such as 4h) or ends (a time)"),
        (["job=1", "--end", "2020-01-01"], "must end after it starts"),
        (["job=1", "--start", "soon"], "starts: 'soon' is not a time"),
    ],
)
async def test_a_silence_that_is_misspelt_is_refused_with_a_hint(
    tmp_path: Path, in_thread: Any, arguments: list[str], problem: str
) -> None:
    """Exit code 2, nothing on the screen but that, and no store is asked for."""
    file = str(written(tmp_path, config(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")))
    code, out, err = await in_thread("silences", "add", *arguments, "--config", file)
    assert (code, out) == (2, "")
    assert problem in err


async def test_silences_are_listed_for_people(tmp_path: Path, in_thread: Any) -> None:
    """What each matches, until when, how long that is, who asked and why; ended ones when asked for."""
    file = str(written(tmp_path, config(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")))
    store = await open_store(f"sqlite:///{tmp_path}/store.db", clock=time.time, exclusive=True)
    await store.close()

    async def silences(*arguments: str) -> Ended:
        ended: Ended = await in_thread("silences", *arguments, "--config", file)
        return ended

    assert (await silences()).out == "No silences.\n"
    added = await silences(
        "add", "job=42", "feature=QoS", "feature=dns", "-d", "59h", "-a", "Zoë", "-m", "new"
    )
    later = await silences("add", "serial=V2*", "--start", "2h", "--duration", "90m")
    assert (added.code, added.err, later.code) == (0, "", 0)
    head, second, first = (await silences("list")).out.splitlines()
    assert head.split()[:3] == ["id", "state", "matches"]
    assert first.startswith(f"{added.out.strip()}  active   job=42 feature=QoS feature=dns")
    assert "  2 d 1" in first
    assert first.split()[-2:] == ["Zoë", "new"]
    assert second.startswith(f"{later.out.strip()}  pending  serial=V2*")
    code, out, err = await silences("expire", added.out.strip(), "nope")
    assert (code, out) == (1, f"ended: {added.out.strip()}\n")
    assert "there is no active or future silence 'nope'" in err
    assert added.out.strip() not in (await silences()).out
    assert f"{added.out.strip()}  expired" in (await silences("--expired")).out
