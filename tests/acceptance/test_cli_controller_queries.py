"""``jobs`` and ``features`` ask the controller itself, which applies every filter that it documents."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from cmc_notify.controller import Controller
from cmc_notify.simulator import OPEN, Row, Simulator
from support.command_line import in_process, written


def config(*urls: str | None) -> dict[str, Any]:
    """Controllers c0, c1, … and a terminal."""
    controllers = {f"c{number}": {"url": url} for number, url in enumerate(urls)}
    sinks = {"screen": {"type": "console"}}
    return {"controllers": controllers, "sinks": sinks, "routes": [{"sinks": ["screen"]}]}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], {}),
        (["--status", "Failed"], {"job_status": ["Failed"]}),
        (["--status", "in progress"], {"job_status": ["InProgress"]}),
        (["--status", "IN_PROGRESS"], {"job_status": ["IN_PROGRESS"]}),
        (["--status", "cancelled"], {"job_status": ["Canceled"]}),
        (["--feature", "3"], {"feature_id": ["3"]}),
        (["--feature", "QoS"], {"feature_id": ["3"]}),
        (["--after", "1795430000"], {"after": ["1795430000"]}),
        (["--before", "2026-11-23T09:20Z"], {"before": ["1795425600"]}),
    ],
)
async def test_filters_are_the_controllers(
    options: list[str], asked: dict[str, list[str]], tmp_path: Path, in_thread: Any
) -> None:
    """Each filter goes to the controller as its page documents it."""
    async with Simulator("empty", auth=OPEN) as sim:
        sim.jobs.add(feature_ids=[3])
        code, _, err = await in_thread("jobs", *options, "--config", str(written(tmp_path, config(sim.url))))
        assert (code, err) == (0, "")
        (target,) = [each.target for each in sim.requests if urlsplit(each.target).path.endswith("/jobs")]
        assert parse_qs(urlsplit(target).query) == asked


async def test_one_job_is_shown_whole(tmp_path: Path, in_thread: Any) -> None:
    """``jobs show`` has every row with its whole text, and hides nothing that a terminal would act on."""
    text = "line one\nline \x1b[31mtwo"
    async with Simulator("empty", auth=OPEN) as sim:
        sim.catalog.grow(4)
        job = sim.jobs.add(feature_ids=[3], rows=[Row("V2AB00001", 3, "Completed", "Fail", text)])
        job.finish("Failed", error_text="before any \x1b[2Jappliance")
        file = str(written(tmp_path, config(sim.url)))
        code, out, _ = await in_thread("jobs", "show", str(job.id), "--config", file)
        assert code == 0
        assert "before any ␛[2Jappliance" in out
        assert "V2AB00001" in out
        assert "line ␛[31mtwo" in out
        assert "\x1b" not in out
        code, out, _ = await in_thread("jobs", "show", str(job.id), "--json", "--config", file)
        (row,) = msgspec.json.decode(out)["rows"]
        assert row["error_text"] == text
        code, _, err = await in_thread("jobs", "show", "99", "--config", file)
        assert (code, err) == (1, "error: the controller has no job 99\n")


async def test_a_malformed_job_hides_no_other(tmp_path: Path, in_thread: Any) -> None:
    """What can't be read is warned about on standard error; the rest is listed."""
    async with Simulator("empty", auth=OPEN) as sim:
        job = sim.jobs.add(feature_ids=[3])
        sim.jobs.add_raw(b'"no job"')
        code, out, err = await in_thread(
            "jobs", "--json", "--config", str(written(tmp_path, config(sim.url)))
        )
        assert code == 0
        assert [each["id"] for each in msgspec.json.decode(out)] == [job.id]
        assert err.startswith("warning: c0: a job can't be read")


async def test_several_controllers(tmp_path: Path, in_thread: Any) -> None:
    """Lists are of all controllers, or the one that is named; a job id needs to know which."""
    async with Simulator("empty", auth=OPEN) as one, Simulator("empty", auth=OPEN) as two:
        one.jobs.add(feature_ids=[3])
        two.jobs.add(feature_ids=[3])
        file = str(written(tmp_path, config(one.url, two.url)))
        code, out, _ = await in_thread("jobs", "--json", "--config", file)
        assert sorted(each["controller"] for each in msgspec.json.decode(out)) == ["c0", "c1"]
        code, out, _ = await in_thread(
            "features", "--name", "qos", "--controller", "c1", "--json", "--config", file
        )
        assert [(each["controller"], each["id"]) for each in msgspec.json.decode(out)] == [("c1", 3)]
        code, _, err = await in_thread("jobs", "cancel", "1", "--config", file)
        assert (code, err) == (2, "error: there are several controllers; write --controller c0|c1\n")
        code, _, err = await in_thread("jobs", "--controller", "c9", "--config", file)
        assert code == 2
        assert "there is no controller 'c9'" in err


async def test_a_dead_controller_is_one_line(tmp_path: Path, in_thread: Any) -> None:
    """Nobody there: exit code 1, where and why, no traceback."""
    code, out, err = await in_thread("jobs", "--config", str(written(tmp_path, config("http://127.0.0.1:9"))))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "127.0.0.1:9" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--status", "bogus"], "write one of Queued, InProgress, Success, Failed, Canceled"),
        (["--status", "Faild"], 'did you mean "Failed"?'),
        (["--after", "yesterday"], "or how long ago: 30m, 2h, 1d"),
        (["--before", "9" * 400 + "d"], "is not a time"),
    ],
)
def test_a_wrong_filter_is_2(options: list[str], said: str, tmp_path: Path) -> None:
    """What no controller can know is never asked: exit code 2 and what to write instead."""
    file = str(written(tmp_path, config("http://127.0.0.1:9")))
    code, out, err = in_process("jobs", *options, "--config", file)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


async def test_how_long_ago_is_by_the_controllers_clock(
    tmp_path: Path, in_thread: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--after 2h`` on a controller whose clock is a day ahead asks for its last two hours, not ours."""
    day = 86400
    monkeypatch.setattr(Controller, "clock_offset", property(lambda _: float(day)))
    async with Simulator("empty", auth=OPEN) as sim:
        code, _, err = await in_thread(
            "jobs", "--after", "2h", "--config", str(written(tmp_path, config(sim.url)))
        )
        assert (code, err) == (0, "")
        (target,) = [each.target for each in sim.requests if urlsplit(each.target).path.endswith("/jobs")]
        (after,) = parse_qs(urlsplit(target).query)["after"]
        assert abs(int(after) - (time.time() + day - 7200)) < 30
