"""Test polls and stores that hang, and what is stored of a poll."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cmc_notify.core.events import Event
from cmc_notify.poller import Poller
from cmc_notify.simulator import Row
from support.poller_harness import PollerHarness, polling
from support.poller_jobs import FAIL, finished

# --- the watchdog -----------------------------------------------------------------------------------------


async def never(*_arguments: object, **_more: object) -> None:
    """Never return."""
    await asyncio.Event().wait()


@contextmanager
def impatient(poller: Poller) -> Iterator[None]:
    """The watchdog waits for a moment only: a hang here is for ever, and all else has enough time."""
    patient = poller._settings
    poll = patient.poll.model_copy(update={"watchdog": 0.2})
    poller._settings = patient.model_copy(update={"poll": poll})
    yield
    poller._settings = patient


async def test_a_poll_that_hangs_is_ended_and_announced_like_a_failed_one(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog ends it; it counts, is announced as unreachable with that reason, and is repeated."""
    told: list[Event] = []
    with impatient(harness.poller), monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(harness.poller._source, "list_jobs", never)
        for _ in range(3):
            told += await harness.events()
            assert (harness.result.ok, harness.result.hung) == (False, True)
    [event] = told
    assert event.type == "controller.unreachable"
    assert "the poll hung" in str(event.reason)
    assert [line["log_level"] for line in log if line["event"] == "poll.hung"] == ["error"] * 3
    assert (await harness.meta()).failed_polls == 3
    counted = harness.metrics.registry.get_sample_value
    assert counted("cmc_notify_polls_total", {"controller": "emea", "result": "hung"}) == 3
    assert counted("cmc_notify_controller_up", {"controller": "emea"}) == 0
    assert await harness.poll() == ["- controller.recovered"]
    assert not harness.result.hung


async def test_a_controller_that_trickles_makes_a_poll_hang(tmp_path: Path) -> None:
    """Its response comes byte by byte, within the time-out of one request, and yet too late."""
    async with polling(tmp_path, timeout=20) as harness:
        harness.sim.faults.slow_for = 2
        with harness.sim.outage("slow"), impatient(harness.poller):
            assert await harness.poll() == []
        assert harness.result.hung
        assert await harness.poll() == []
        assert harness.result.ok


@pytest.mark.parametrize("method", ["load_snapshot", "commit_poll"])
async def test_a_store_that_hangs_hangs_no_poll(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """During a read or a write: the poll ends, does not count against the controller, and is repeated."""
    harness.restart()
    harness.sim.jobs.add()
    with impatient(harness.poller), monkeypatch.context() as patch:
        patch.setattr(harness.store.poll, method, never)
        assert await harness.poll() == []
        assert (harness.result.ok, harness.result.hung) == (False, True)
        assert "store" in str(harness.result.error)
    assert await harness.poll() == ["4101 job.queued"]
    assert (await harness.meta()).failed_polls == 0


async def test_the_end_of_a_hung_poll_does_not_wait_for_a_store_that_hangs(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controller and store hang: the poll ends within the times of the watchdog and of the commit."""
    with impatient(harness.poller), monkeypatch.context() as patch:
        patch.setattr("cmc_notify.poller.poller.FAILURE_COMMIT_TIMEOUT", 0.2)
        patch.setattr(harness.poller._source, "list_jobs", never)
        patch.setattr(harness.store.poll, "commit_poll", never)
        async with asyncio.timeout(10):
            assert await harness.poll() == []
        assert (harness.result.ok, harness.result.hung) == (False, True)
    assert await harness.poll() == []
    assert harness.result.ok


async def test_an_unknown_status_is_reported_and_stops_nothing(harness: PollerHarness) -> None:
    """The job is followed as an open one."""
    job = harness.sim.jobs.add(status="Rolling back")
    assert await harness.poll() == []
    assert (await harness.meta()).unknown_statuses == ("Rolling back",)
    job.finish("Success")
    assert await harness.poll() == ["4101 job.succeeded"]


async def test_nothing_that_an_operator_wants_removed_is_stored(
    harness: PollerHarness, tmp_path: Path
) -> None:
    """It is in no table of the database file."""
    harness.poller = harness.new_poller(redact=(re.compile(r"community \S+"),))
    finished(
        harness, "Failed", FAIL._replace(error_text="bad community s3cret here"), Row("V2", 3, "Running")
    )
    await harness.poll()
    [event] = await harness.events(after=60)
    assert event.failures[0].error_text == "bad [redacted] here"
    files = list(tmp_path.glob("poller.db*"))  # noqa: ASYNC240  nothing else runs here
    assert not any(b"s3cret" in file.read_bytes() for file in files)
