"""Jobs for tests of the poller."""

from typing import Any

from cmc_notify.simulator import Row, SimulatedJob
from support.poller_harness import PollerHarness

FAIL, GOOD = Row("V1", 3, "Completed", "Fail", "broke"), Row("V1", 3, "Completed", "Success")


def finished(harness: PollerHarness, status: str, *rows: Row, ago: int = 1, **fields: Any) -> SimulatedJob:
    """A job that ended so many seconds ago."""
    end = int(harness.sim.now) - ago
    times = {"creation_time": end - 20, "push_time": end - 10, "completion_time": end}
    return harness.sim.jobs.add(status=status, rows=rows, feature_ids=[3], **times | fields)


async def beyond_the_lists(harness: PollerHarness, *, after: float) -> None:
    """Let time pass and add so many younger jobs that no filtered list shows an older finished one."""
    for _ in range(25):
        finished(harness, "Success", creation_time=int(harness.sim.now) + 3000)
    await harness.poll(after=after)
