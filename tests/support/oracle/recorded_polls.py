"""Polls of a simulated controller, recorded for the oracle."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cmc_notify.simulator import Quirks, Request, Row, SimulatedJob, Simulator
from support.oracle.expected_events import Expected, expected

JOBS = "/api/cmc.configurator/1.0/jobs"


class Record:
    """A simulator whose requests are written by hand: no server, no bridge."""

    def __init__(self, quirks: Quirks | None = None) -> None:
        self.sim = Simulator("empty", speed=0, quirks=quirks)
        self.sim.clock.run()

    def poll(self, query: str = "", *, lost: bool = False) -> int:
        """A list request for all jobs that was answered now; returns its number."""
        looks = tuple((job.key, len(job.versions)) for job in self.sim.jobs)
        return self._request(f"{JOBS}{query}", 0 if lost else 200, looks)

    def ask(self, job_id: int) -> None:
        """A look-up by id that was answered now."""
        job = self.sim.jobs.get(job_id)
        looks = ((job.key, len(job.versions)),) if job else ()
        self._request(f"{JOBS}/items/{job_id}", 200 if job else 404, looks)

    def job(self, *rows: Row, **fields: Any) -> SimulatedJob:
        """A new job of feature 3."""
        return self.sim.jobs.add(rows=rows, feature_ids=[3], **fields)

    def failed(self, *rows: Row, at: int, **fields: Any) -> SimulatedJob:
        """A job that ended Failed at this virtual second after the start."""
        end = int(self.sim.clock.start) + at
        return self.job(*rows, status="Failed", push_time=end - 5, completion_time=end, **fields)

    def expected(self, **options: Any) -> list[Expected]:
        """What the oracle makes of it."""
        return expected(self.sim, **options)

    def types(self, **options: Any) -> list[str]:
        """The types of what is expected."""
        return [event.type for event in self.expected(**options)]

    def _request(self, target: str, status: int, looks: tuple[tuple[str, int], ...]) -> int:
        number = len(self.sim.requests) + 1
        entry = Request(number, "GET", target, self.sim.now, looks, status, complete=status != 0)
        self.sim.requests.append(entry)
        return number


def fails(serial: str | None = "V1", feature: int | None = 3) -> Row:
    """A row that failed."""
    return Row(serial, feature, "Completed", "Fail", "no route")


def told_pair(serial: str | None, feature: int | None = 3, *, new: bool) -> dict[str, Any]:
    """One item of a document's failures."""
    return {"serial": serial, "feature_id": feature, "new": new}


def documents(events: Sequence[Expected]) -> list[dict[str, Any]]:
    """The event documents of a bridge that is right."""
    result = []
    for event in events:
        created = event.job[1]
        told = None if created is None else datetime.fromtimestamp(created, UTC).isoformat()
        pairs = event.failed if event.failed is not None else event.new
        failures = [
            told_pair(serial, feature, new=(serial, feature) in event.new) for serial, feature in pairs
        ]
        recoveries = [
            {"serial": serial, "feature_id": feature, "failed_job_id": job}
            for serial, feature, job in event.recovered
        ]
        job = {"id": event.job[0], "created": told, "details_pending": False}
        result.append({"type": event.type, "job": job, "failures": failures, "recoveries": recoveries})
    return result
