"""Test polls that fail: malformed jobs, failed lists, outages of the controller."""

from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from cmc_notify.core.events import rfc3339
from cmc_notify.simulator import Row
from support.poller_harness import PollerHarness
from support.poller_jobs import FAIL, GOOD, beyond_the_lists, finished

# --- what goes wrong --------------------------------------------------------------------------------------


async def test_a_malformed_job_blinds_nobody(harness: PollerHarness) -> None:
    """It is logged and stored with its id; the others are committed; it is announced once it can be read."""
    harness.sim.jobs.add_raw(b'"nonsense"')
    bad = harness.sim.jobs.add(overrides={"feature_ids": 7, "detailed_status": "x", "job_status": {"a": 1}})
    good = harness.sim.jobs.add()
    harness.restart()
    with capture_logs(processors=[merge_contextvars]) as log:
        assert await harness.poll() == [f"{good.id} job.queued"]
    told = [line for line in log if line["event"] == "job.malformed"]
    assert [line["controller"] for line in told] == ["emea", "emea"]
    assert bad.id in [line["job_id"] for line in told]
    broken = (await harness.meta()).malformed
    assert len(broken) == 2
    assert any(str(bad.id) in line for line in broken)
    assert await harness.poll(after=3600) == []
    assert (await harness.meta()).malformed == broken
    bad.overrides.clear()
    bad.finish("Canceled")
    assert await harness.poll() == [f"{bad.id} job.canceled"]
    assert len((await harness.meta()).malformed) == 2
    await harness.poll(after=3600)
    assert len((await harness.meta()).malformed) == 1


async def test_an_open_job_that_can_not_be_read_for_a_while_is_not_gone(harness: PollerHarness) -> None:
    """It is announced when it is readable again."""
    job = harness.sim.jobs.add()
    await harness.poll()
    job.override(detailed_status="x")
    assert await harness.poll() == []
    assert (await harness.meta()).malformed
    job.overrides.clear()
    job.finish("Success")
    assert await harness.poll() == ["4101 job.succeeded"]


@pytest.mark.parametrize(("fault", "count"), [("500", 1), ("cut", 1), ("garbage", 1), ("401", 2)])
async def test_a_look_up_that_fails_delays_its_job_only(
    harness: PollerHarness, fault: Any, count: int
) -> None:
    """The poll succeeds; the other job is announced now, this one by the next poll."""
    one, other = harness.sim.jobs.add(), harness.sim.jobs.add()
    for job in (one, other):
        job.start()
    await harness.poll()
    await beyond_the_lists(harness, after=3600)
    for job in (one, other):
        job.finish("Success")
    harness.sim.fail_next(fault, count, path=f"/items/{one.id}")
    assert await harness.poll() == [f"{other.id} job.succeeded"]
    assert harness.result.ok
    assert await harness.poll() == [f"{one.id} job.succeeded"]


async def test_a_list_that_fails_commits_nothing(harness: PollerHarness) -> None:
    """Not even what an earlier list of the same poll showed."""
    harness.sim.jobs.add()
    harness.sim.fail_next("500", path="after=")
    harness.sim.fail_next("500", path="InProgress")
    assert await harness.poll() == []
    assert not harness.result.ok
    assert await harness.poll() == ["4101 job.queued"]


async def test_an_outage_is_announced_once_and_so_is_its_end(harness: PollerHarness) -> None:
    """After unreachable_after failed polls, also over a restart; since when, and the recovery too."""
    with harness.sim.outage("503"):
        assert await harness.poll() == []
        began = harness.sim.now
        [lost] = await harness.events()
        assert (lost.type, lost.controller) == ("controller.unreachable", "emea")
        assert lost.since
        assert lost.reason
        harness.restart()
        assert await harness.poll() == []
        assert (await harness.meta()).unreachable_since == began
    [back] = await harness.events()
    assert (back.type, back.since) == ("controller.recovered", lost.since)
    assert await harness.poll() == []


async def test_a_restart_does_not_shorten_an_outage(harness: PollerHarness) -> None:
    """Since is the first failed poll, though the bridge was restarted before the outage was announced."""
    with harness.sim.outage("503"):
        assert await harness.poll() == []
        began = harness.sim.now
        assert (await harness.meta()).failing_since == began
        harness.restart()
        [lost] = await harness.events()
        assert (lost.type, lost.since) == ("controller.unreachable", rfc3339(began))
    [back] = await harness.events()
    assert (back.type, back.since) == ("controller.recovered", rfc3339(began))
    assert (await harness.meta()).failing_since is None


async def test_refused_credentials_are_announced_at_once_and_once(harness: PollerHarness) -> None:
    """An operator must act, so it is announced at once."""
    with harness.sim.outage("401"):
        assert await harness.poll() == ["- controller.unauthorized"]
        assert await harness.poll() == []
    assert await harness.poll() == ["- controller.recovered"]


async def test_a_settling_failure_is_announced_in_time_during_an_outage(harness: PollerHarness) -> None:
    """Its known details do not wait for the controller, and are not announced again afterwards."""
    finished(harness, "Failed", FAIL, Row("V2", 3, "Running"))
    assert await harness.poll() == []
    with harness.sim.outage("503"):
        assert await harness.poll() == []
        assert await harness.poll(after=45) == ["4101 job.failed", "- controller.unreachable"]
        harness.restart()
        assert await harness.poll() == []
    finished(harness, "Success", GOOD)
    assert await harness.poll() == [
        "- controller.recovered",
        "4102 appliance.recovered",
        "4102 job.succeeded",
    ]
