"""The poller with a controller over HTTP and a real store: its requests, commits and failures."""

from cmc_notify.simulator import Row
from support.poller_harness import PollerHarness
from support.poller_jobs import FAIL, GOOD, beyond_the_lists, finished

# --- a job's life -----------------------------------------------------------------------------------------


async def test_a_jobs_life_is_announced_as_the_polls_saw_it(harness: PollerHarness) -> None:
    """Queued, started, failing, the end; and nothing where nothing changed."""
    job = harness.sim.jobs.add(feature_ids=[3])
    assert await harness.poll() == ["4101 job.queued"]
    job.start()
    assert await harness.poll() == ["4101 job.started"]
    job.set_rows([FAIL, Row("V2", 3, "Running")])
    assert await harness.poll() == ["4101 appliance.failed"]
    assert await harness.poll() == []
    with job.change():
        job.set_row("V2", 3, "Success")
        job.finish("Failed")
    assert await harness.poll() == ["4101 job.failed"]
    assert await harness.poll() == []


async def test_a_restart_in_between_changes_nothing(harness: PollerHarness) -> None:
    """All that a poller knows is in the store: nothing is announced twice, and no change is missed."""
    job = harness.sim.jobs.add(feature_ids=[3])
    assert await harness.poll() == ["4101 job.queued"]
    harness.restart()
    assert await harness.poll() == []
    job.start()
    job.set_rows([FAIL])
    job.finish("Failed")
    harness.restart()
    assert await harness.poll() == ["4101 job.failed"]
    harness.restart()
    finished(harness, "Success", GOOD)
    assert await harness.poll() == ["4102 appliance.recovered", "4102 job.succeeded"]


async def test_a_settling_failure_survives_a_restart(harness: PollerHarness) -> None:
    """The settle time continues, and the next poller announces the text."""
    finished(harness, "Failed", FAIL, Row("V2", 3, "Running"))
    assert await harness.poll() == []
    harness.restart()
    assert await harness.poll(after=59) == []
    [event] = await harness.events(after=1)
    assert event.job
    assert event.job.details_pending
    assert [failure.error_text for failure in event.failures] == ["broke"]


async def test_details_that_come_late_are_found_by_id(harness: PollerHarness) -> None:
    """A job is looked up for ten minutes after it was announced without its details."""
    job = finished(harness, "Failed")
    await harness.poll()
    assert await harness.poll(after=60) == ["4101 job.failed"]
    await beyond_the_lists(harness, after=500)
    job.set_rows([FAIL])
    assert await harness.poll(after=90) == ["4101 appliance.failed"]
    job.set_rows([FAIL, FAIL._replace(serial="V2")])
    assert await harness.poll() == []


async def test_a_reused_id_is_another_job(harness: PollerHarness) -> None:
    """The old job vanished, the new one is new, and its success still closes the old one's failures."""
    old = finished(harness, "Failed", FAIL, job_id=7, ago=5)
    assert await harness.poll() == ["7 job.failed"]
    old.purge()
    finished(harness, "Success", GOOD, job_id=7)
    assert await harness.poll() == ["7 appliance.recovered", "7 job.succeeded"]


async def test_an_open_job_whose_id_went_to_another_is_gone(harness: PollerHarness) -> None:
    """Its id returns another job, so the first one vanished."""
    old = harness.sim.jobs.add(job_id=7)
    await harness.poll()
    old.purge()
    harness.sim.jobs.add(job_id=7, creation_time=int(harness.sim.now) + 5)
    assert sorted(await harness.poll()) == ["7 job.queued", "7 job.vanished"]


async def test_an_open_job_that_is_gone_is_announced_once(harness: PollerHarness) -> None:
    """404 by id; afterwards it is not requested any more."""
    job = harness.sim.jobs.add()
    await harness.poll()
    job.purge()
    assert await harness.poll() == ["4101 job.vanished"]
    assert await harness.poll() == []
    assert not any("/items/" in asked for asked in await harness.requests())


async def test_a_job_that_comes_back_is_followed_again(harness: PollerHarness) -> None:
    """Also if it is exactly as before."""
    job = harness.sim.jobs.add()
    await harness.poll()
    job.purge()
    await harness.poll()
    harness.sim.jobs._listed[job.key] = job
    harness.sim.jobs.generation += 1
    assert await harness.poll() == []
    await beyond_the_lists(harness, after=3600)
    job.finish("Canceled")
    assert await harness.poll() == ["4101 job.canceled"]


async def test_a_job_with_the_same_bytes_as_before_has_changed_all_the_same(harness: PollerHarness) -> None:
    """Failed, running and failed again with the same bytes: the second failure is new."""
    job = harness.sim.jobs.add(feature_ids=[3])
    job.start()
    told = []
    for rows in ([Row("V1", 3, "Running")], [FAIL]) * 2:
        job.set_rows(rows)
        told.append(await harness.poll())
    assert told == [["4101 job.started"], ["4101 appliance.failed"], [], ["4101 appliance.failed"]]


async def test_a_job_that_nobody_watches_any_more_is_still_known(harness: PollerHarness) -> None:
    """Its state is read from the store: a rerun long after is a rerun, not a new job."""
    job = finished(harness, "Failed", FAIL)
    await harness.poll()
    await harness.poll(after=700)
    assert not harness.result.busy
    job.rerun()
    assert await harness.poll() == ["4101 job.reopened", "4101 job.started"]
