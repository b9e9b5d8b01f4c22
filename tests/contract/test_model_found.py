"""What the state machine found, each as the short story that it is."""

from pathlib import Path
from typing import Any

from poller_stage import polling

from cmc_notify.controller.listing import ListedItem
from cmc_notify.poller.memory import KnownJobs
from cmc_notify.poller.observations import Observations
from cmc_notify.simulator import Row

DAY = 86_400.0


async def test_a_forgotten_job_that_returns_stops_no_poll(tmp_path: Path) -> None:
    """It fell out of the lists while its message waited for a month; polls go on, and nothing is told."""
    async with polling(tmp_path) as stage:
        job = stage.sim.jobs.add(rows=[Row("V1", 3, "Completed", "Success")])
        with job.change():
            job.start()
            job.finish("Success")
        assert await stage.poll() == ["4101 job.succeeded"]
        job.purge()
        stage.restart()
        await stage.poll()
        stage.sim.advance(31 * DAY)
        await stage.store.housekeeping.forget(before=stage.sim.now - 30 * DAY)
        stage.sim.jobs._listed[job.key] = job
        stage.sim.jobs.generation += 1
        stage.restart()
        assert await stage.poll() == []
        assert stage.result.ok


async def test_what_only_another_poller_knows_is_no_riddle(tmp_path: Path) -> None:
    """A poller with an old memory meets a success that it never saw: it reads the store anew, and goes on."""
    async with polling(tmp_path) as stage:
        await stage.poll()
        slept = stage.poller
        end = int(stage.sim.now) + 5
        good = Row("V1", 3, "Completed", "Success")
        times: dict[str, Any] = {"creation_time": end - 9, "push_time": end - 5, "completion_time": end}
        later = stage.sim.jobs.add(status="Success", rows=[good], **times)
        stage.restart()
        assert await stage.poll() == ["4101 job.succeeded"]
        later.purge()
        times["completion_time"] = end - 1
        stage.sim.jobs.add(
            status="Failed", rows=[Row("V1", 3, "Completed", "Fail", "broke")], job_id=4102, **times
        )
        stage.poller = slept
        assert await stage.poll() == ["4102 job.failed", "4101 appliance.recovered"]


async def test_what_goes_back_within_one_poll_is_remembered_as_last_seen(tmp_path: Path) -> None:
    """A job that changes and changes back between the requests of a poll is looked at three times."""
    async with polling(tmp_path) as stage:
        job = stage.sim.jobs.add(rows=[Row("V1", 3, "Running")])
        looks = Observations(KnownJobs([]), lambda job: job, {})
        for result in (None, "Success", None):
            job.set_row("V1", 3, result, None)
            await looks.add([ListedItem(job.body)])
        [steps] = looks.changed.values()
        assert [step.rows[0].outcome for step in steps] == ["running", "succeeded", "running"]
