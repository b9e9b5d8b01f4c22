"""Test the first poll of a controller, and which requests later ones make."""

import re
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cmc_notify.simulator import Quirks
from support.poller_harness import PollerHarness, polling
from support.poller_jobs import FAIL, GOOD, beyond_the_lists, finished


def old_jobs(harness: PollerHarness, count: int, **fields: Any) -> None:
    """Jobs that ended hours ago."""
    for number in range(count):
        finished(harness, "Success", GOOD, ago=90_000 - number, **fields)


# --- the first run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("none", []),
        ("open", ["3 job.started", "3 appliance.failed"]),
        ("1h", ["2 job.failed", "3 job.started", "3 appliance.failed"]),
        ("all", ["1 job.failed", "2 job.failed", "3 job.started", "3 appliance.failed"]),
    ],
)
async def test_the_first_run_rule(tmp_path: Path, rule: str, told: list[str]) -> None:
    """Jobs of the first list are announced by the rule, later ones always, recoveries if announced."""
    async with polling(tmp_path, first_run=rule) as harness:
        finished(harness, "Failed", FAIL, job_id=1, ago=9000)
        finished(harness, "Failed", FAIL._replace(serial="V2"), job_id=2, ago=60)
        now = int(harness.sim.now)
        harness.sim.jobs.add(
            job_id=3, status="InProgress", push_time=now, rows=[FAIL._replace(serial="V3")], feature_ids=[3]
        )
        assert await harness.poll() == told
        harness.restart()
        assert await harness.poll() == []
        finished(harness, "Success", GOOD, job_id=9)
        recovered = ["9 appliance.recovered"] if rule == "all" else []
        assert await harness.poll() == [*recovered, "9 job.succeeded"]


async def test_a_first_list_that_fails_is_no_first_run(tmp_path: Path) -> None:
    """The rule holds until a full list is committed."""
    async with polling(tmp_path, first_run="none") as harness:
        finished(harness, "Failed", FAIL)
        harness.sim.fail_next("500", path="/jobs")
        assert await harness.poll() == []
        assert not harness.result.ok
        assert await harness.poll() == []
        assert harness.result.ok


async def test_a_whole_past_is_announced_once_and_then_not_requested(tmp_path: Path) -> None:
    """After a first run that announces all, the next poll requests three lists and no old job."""
    async with polling(tmp_path) as harness:
        old_jobs(harness, 40)
        assert len(await harness.poll()) == 40
        assert [re.sub(r"\d+", "…", asked) for asked in await harness.requests()] == [
            "?job_status=Queued", "?job_status=InProgress", "?after=…",
        ]  # fmt: skip
        assert not harness.result.busy


# --- what is asked ----------------------------------------------------------------------------------------


async def test_an_unchanged_controller_costs_three_lists(harness: PollerHarness) -> None:
    """Queued, InProgress, new; by id only jobs in none of them; and nothing is decoded or announced."""
    old_jobs(harness, 25)
    harness.sim.jobs.add()
    await harness.poll()
    await harness.poll(after=700)
    with capture_logs() as log:
        asked = await harness.requests()
    assert [each.split("=")[0] for each in asked] == ["?job_status", "?job_status", "?after"]
    assert harness.result.events == 0
    assert [line["decoded"] for line in log if line["event"] == "poll.done"] == [0]


async def test_a_job_missing_from_the_lists_is_looked_up_by_id(harness: PollerHarness) -> None:
    """A job that ran for a long time and ended is in no filtered list any more."""
    job = harness.sim.jobs.add()
    job.start()
    await harness.poll()
    await beyond_the_lists(harness, after=3600)
    job.finish("Success")
    before = len(harness.sim.requests)
    assert await harness.poll() == ["4101 job.succeeded"]
    assert any("/jobs/items/4101" in entry.target for entry in harness.sim.requests[before:])


async def test_a_full_list_comes_round(tmp_path: Path) -> None:
    """Every full_sync, and it finds jobs that the filters can't show."""
    async with polling(tmp_path, full_sync="1h") as harness:
        await harness.poll()
        for _ in range(25):
            finished(harness, "Success")
        await harness.poll()
        late = finished(harness, "Failed", FAIL, ago=50_000)
        assert await harness.poll() == []
        assert await harness.poll(after=3600) == [f"{late.id} job.failed"]


@pytest.mark.parametrize(
    ("quirks", "belief"),
    [
        (Quirks(), "proven"),
        (Quirks(inclusive=False), "proven"),
        (Quirks(after_field="push"), "proven"),
        (Quirks(after_field="completion", inclusive=False), "proven"),
        (Quirks(filters_ignored=True), "ignored"),
        (Quirks(spelling="upper", strict_filter_spelling=True, after_field="completion"), "incomplete"),
    ],
)
async def test_filters_are_proven_and_nothing_is_lost_whatever_they_do(
    tmp_path: Path, quirks: Quirks, belief: str
) -> None:
    """Ignored or incomplete filters are not used: then each poll is one plain list."""
    async with polling(tmp_path, quirks=quirks) as harness:
        old_jobs(harness, 25)
        first = harness.sim.jobs.add()
        await harness.poll()
        assert (await harness.meta()).filters == belief
        second = harness.sim.jobs.add()
        assert await harness.poll() == [f"{second.id} job.queued"]
        first.start()
        assert await harness.poll() == [f"{first.id} job.started"]
        first.finish("Success")
        second.finish("Canceled")
        assert sorted(await harness.poll()) == [f"{first.id} job.succeeded", f"{second.id} job.canceled"]
        if belief != "proven":
            assert await harness.requests() == ["full"]


async def test_a_proof_that_fails_keeps_the_full_list(tmp_path: Path) -> None:
    """The jobs of the list are announced, and the filters are proven in the next poll."""
    async with polling(tmp_path) as harness:
        harness.sim.jobs.add()
        harness.sim.fail_next("500", path="job_status")
        assert await harness.poll() == ["4101 job.queued"]
        assert (await harness.meta()).filters == "unproven"
        assert await harness.poll() == []
        assert (await harness.meta()).filters == "proven"
