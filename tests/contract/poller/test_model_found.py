"""What the state machine found, each as the short story that it is."""

from pathlib import Path
from typing import Any

from cmc_notify.controller.listing import ListedItem
from cmc_notify.poller.memory import KnownJobs
from cmc_notify.poller.observations import Observations
from cmc_notify.simulator import Row
from support.poller_harness import polling

DAY = 86_400.0


async def test_a_forgotten_job_that_returns_stops_no_poll(tmp_path: Path) -> None:
    """It fell out of the lists while its message waited for a month; polls go on, and nothing is told."""
    async with polling(tmp_path) as harness:
        job = harness.sim.jobs.add(rows=[Row("V1", 3, "Completed", "Success")])
        with job.change():
            job.start()
            job.finish("Success")
        assert await harness.poll() == ["4101 job.succeeded"]
        job.purge()
        harness.restart()
        await harness.poll()
        harness.sim.advance(31 * DAY)
        await harness.store.housekeeping.forget(before=harness.sim.now - 30 * DAY)
        harness.sim.jobs._listed[job.key] = job
        harness.sim.jobs.generation += 1
        harness.restart()
        assert await harness.poll() == []
        assert harness.result.ok


async def test_what_only_another_poller_knows_is_no_riddle(tmp_path: Path) -> None:
    """A poller with an old memory meets a success that it never saw: it reads the store anew, and goes on."""
    async with polling(tmp_path) as harness:
        await harness.poll()
        slept = harness.poller
        end = int(harness.sim.now) + 5
        good = Row("V1", 3, "Completed", "Success")
        times: dict[str, Any] = {"creation_time": end - 9, "push_time": end - 5, "completion_time": end}
        later = harness.sim.jobs.add(status="Success", rows=[good], **times)
        harness.restart()
        assert await harness.poll() == ["4101 job.succeeded"]
        later.purge()
        times["completion_time"] = end - 1
        harness.sim.jobs.add(
            status="Failed", rows=[Row("V1", 3, "Completed", "Fail", "broke")], job_id=4102, **times
        )
        harness.poller = slept
        assert await harness.poll() == ["4102 job.failed", "4101 appliance.recovered"]


async def test_what_goes_back_within_one_poll_is_remembered_as_last_seen(tmp_path: Path) -> None:
    """A job that changes and changes back between the requests of a poll is looked at three times."""
    async with polling(tmp_path) as harness:
        job = harness.sim.jobs.add(rows=[Row("V1", 3, "Running")])
        looks = Observations(KnownJobs([]), lambda job: job, {})
        for result in (None, "Success", None):
            job.set_row("V1", 3, result, None)
            await looks.add([ListedItem(job.body)])
        [steps] = looks.changed.values()
        assert [step.rows[0].outcome for step in steps] == ["running", "succeeded", "running"]
