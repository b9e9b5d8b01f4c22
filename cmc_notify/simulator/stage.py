"""The parts of a controller that a scenario uses: jobs, catalog, clock, faults, and seeded random numbers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cmc_notify.simulator.catalog import Catalog, SimulatedAppliance
from cmc_notify.simulator.clock import Change, VirtualClock
from cmc_notify.simulator.faults import FaultKind, Faults
from cmc_notify.simulator.jobs import FINISHED, Jobs, SimulatedJob
from cmc_notify.simulator.wire import Row

Failing = dict[tuple[str, int], str]
"""The error text for each (serial, feature) that will fail."""


@dataclass(frozen=True)
class Stage:
    """A scenario gets this once, before the clock starts."""

    clock: VirtualClock
    jobs: Jobs
    catalog: Catalog
    faults: Faults
    chance: random.Random

    def at(self, seconds: float, change: Change) -> None:
        """Plan a change, in virtual seconds after the start."""
        self.clock.at(self.clock.start + seconds, change)

    def outage(self, kind: FaultKind, begin: float, end: float) -> None:
        """Plan an outage, in virtual seconds after the start."""

        def start() -> None:
            outage = self.faults.begin(kind, self.clock.now)

            def stop() -> None:
                outage.ended = self.clock.now

            self.at(end, stop)

        self.at(begin, start)

    def queue(
        self,
        appliances: Sequence[SimulatedAppliance],
        features: Sequence[int],
        *,
        by: str = "site_ids",
        backup: bool = False,
    ) -> SimulatedJob:
        """Add a job now, with its targets in one of the vendor's three forms."""
        targets: dict[str, Any] = {
            "site_ids": sorted({appliance.site_id for appliance in appliances}),
            "appliance_serial_numbers": [appliance.serial for appliance in appliances],
            "site_type_ids": [2],
        }
        return self.jobs.add(feature_ids=list(features), backup=backup, **{by: targets[by]})

    def push(
        self,
        job: SimulatedJob,
        appliances: Sequence[SimulatedAppliance],
        *,
        seconds: float,
        failing: Failing,
        batches: int = 12,
        final: str | None = None,
    ) -> None:
        """Start the job now and let its rows complete in batches over virtual seconds.

        It ends Failed if a pair failed, else Success, or with ``final``; a canceled job stays canceled.
        """
        rows = [
            Row(appliance.serial, feature)
            for appliance in appliances
            for feature in job.get("feature_ids")
        ]  # fmt: skip
        with job.change():
            job.start()
            job.set_rows(rows)
        order = list(range(len(rows)))
        self.chance.shuffle(order)
        size = max(1, -(-len(order) // batches))
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        begun = self.clock.now
        for number, chunk in enumerate(chunks, 1):
            following = chunks[number] if number < len(chunks) else []
            when = begun + seconds * number / (len(chunks) + 1)
            self.clock.at(when, partial(_step, job, chunk, following, failing))
        end = final or ("Failed" if failing else "Success")
        self.clock.at(begun + seconds, lambda: None if job.status in FINISHED else job.finish(end))


def _step(job: SimulatedJob, chunk: Sequence[int], following: Sequence[int], failing: Failing) -> None:
    """Complete the rows in ``chunk`` and set those of ``following`` running."""
    if job.finished:
        return
    rows = list(job.rows)
    for place in chunk:
        serial, feature = rows[place].serial, rows[place].feature_id
        text = failing.get((serial or "", feature or 0))
        result = "Success" if text is None else "Fail"
        rows[place] = Row(serial, feature, "Completed", result, text)
    for place in following:
        rows[place] = rows[place]._replace(status="Running")
    job.set_rows(rows)
