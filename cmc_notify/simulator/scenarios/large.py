"""A controller with years of history: by default 5,000 jobs of 60 detail rows, some 30 MB as one list."""

from functools import partial

from cmc_notify.simulator.jobs import SimulatedJob
from cmc_notify.simulator.stage import Stage
from cmc_notify.simulator.texts import SHARED
from cmc_notify.simulator.wire import Row

HOUR = 3600


def large(stage: Stage, jobs: int = 5000, rows: int = 60, open_jobs: int = 2) -> None:
    """Fill the controller with ``jobs`` jobs of ``rows`` rows, the last ``open_jobs`` of them still running.

    The open ones finish after ten virtual minutes. One finished job in twenty has failed rows.
    """
    fleet = stage.catalog.grow(max(1, -(-rows // 2)))
    for number in range(jobs):
        age = (jobs - number) * HOUR
        created = int(stage.clock.start) - age
        is_open = number >= jobs - open_jobs
        failed = not is_open and number % 20 == 7  # noqa: PLR2004  one in twenty
        details = []
        for place in range(rows):
            serial, feature = fleet[place // 2].serial, 1 + place % 2 + number % 3 * 2
            if is_open:
                details.append(Row(serial, feature, "Running" if place == 0 else "Pending"))
            elif failed and place % 10 == 3:  # noqa: PLR2004  one row in ten
                details.append(Row(serial, feature, "Completed", "Fail", SHARED[place % len(SHARED)]))
            else:
                details.append(Row(serial, feature, "Completed", "Success"))
        job = stage.jobs.add(
            status="InProgress" if is_open else "Failed" if failed else "Success",
            feature_ids=sorted({row.feature_id for row in details if row.feature_id}) or [1],
            creation_time=created,
            push_time=created + 60,
            completion_time=None if is_open else created + 900,
            site_ids=sorted({one.site_id for one in fleet}),
            rows=details,
        )
        if is_open:
            stage.at(600, partial(_finish, job))


def _finish(job: SimulatedJob) -> None:
    if job.finished:
        return
    with job.change():
        job.set_rows([row._replace(status="Completed", result="Success") for row in job.rows])
        job.finish("Success")
