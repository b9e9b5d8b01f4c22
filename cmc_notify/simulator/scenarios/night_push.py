"""A night's work: a push to a few hundred appliances, its failures, and the retry that fixes them.

About 42 virtual minutes. One job fails before it reaches any appliance, one fails in part, one is
canceled, one is scheduled for later, a retry recovers most failed pairs, and its rerun all others except one.
"""

from collections.abc import Sequence
from functools import partial
from itertools import cycle

from cmc_notify.simulator.catalog import SimulatedAppliance
from cmc_notify.simulator.jobs import SimulatedJob
from cmc_notify.simulator.stage import Failing, Stage
from cmc_notify.simulator.texts import MULTI_LINE, PRE_PUSH, SHARED, UNIQUE
from cmc_notify.simulator.wire import Row

MINUTE = 60.0
PATHS, QOS, POLICY, SNMP = 2, 3, 4, 8


def night_push(stage: Stage, appliances: int = 240) -> None:
    """Plan the night. ``appliances`` is the size of the fleet, at least 8."""
    if appliances < 8:  # noqa: PLR2004  fewer leave nothing to fail and to retry
        raise ValueError(f"night-push can't run with {appliances} appliances; write at least 8")
    _Night(stage, stage.catalog.grow(appliances)).plan()


class _Night:
    """The jobs of the night and their times."""

    def __init__(self, stage: Stage, fleet: Sequence[SimulatedAppliance]) -> None:
        self.stage = stage
        self.fleet = fleet
        self.half = fleet[: len(fleet) // 2]
        self.failing = _failures(stage, self.half, (PATHS, QOS))

    def plan(self) -> None:
        """Plan all jobs on the clock."""
        at = self.stage.at
        self._yesterday()
        at(5, self._main_push)
        at(1.5 * MINUTE, self._waiting_job)
        at(2 * MINUTE, self._pre_push_failure)
        at(5 * MINUTE, self._canceled_job)
        at(9 * MINUTE, partial(self._plain_push, self.fleet[len(self.fleet) // 2 :], SNMP))
        at(20 * MINUTE, self._retry)
        at(34 * MINUTE, self._late_failure)
        at(42 * MINUTE, lambda: None)

    def _yesterday(self) -> None:
        """Add the jobs that the controller already lists at the first poll."""
        for days, feature in ((3, SNMP), (2, POLICY), (1, QOS)):
            created = int(self.stage.clock.start - days * 86_400)
            rows = [Row(one.serial, feature, "Completed", "Success") for one in self.half[:8]]
            self.stage.jobs.add(
                status="Success",
                feature_ids=[feature],
                creation_time=created,
                push_time=created + 30,
                completion_time=created + 400,
                site_ids=sorted({one.site_id for one in self.half[:8]}),
                rows=rows,
            )

    def _main_push(self) -> None:
        job = self.stage.queue(self.half, (PATHS, QOS), backup=True)
        begin = partial(
            self.stage.push, job, self.half, seconds=14 * MINUTE, failing=self.failing, batches=24
        )
        self.stage.clock.at(self.stage.clock.now + 40, begin)

    def _waiting_job(self) -> None:
        some = self.fleet[-4:]
        job = self.stage.queue(some, (POLICY,), by="appliance_serial_numbers")
        job.set(timestamp=int(self.stage.clock.start + 28 * MINUTE))
        begin = partial(self.stage.push, job, some, seconds=3 * MINUTE, failing={}, batches=2)
        self.stage.at(28 * MINUTE, begin)

    def _pre_push_failure(self) -> None:
        job = self.stage.queue(self.fleet, (POLICY,), by="site_type_ids", backup=True)
        now = self.stage.clock.now
        self.stage.clock.at(now + 20, job.start)
        self.stage.clock.at(now + 50, lambda: job.finish("Failed", error_text=PRE_PUSH))

    def _canceled_job(self) -> None:
        some = self.fleet[len(self.fleet) // 3 : len(self.fleet) // 2]
        job = self.stage.queue(some, (SNMP,))
        now = self.stage.clock.now
        push = partial(self.stage.push, job, some, seconds=10 * MINUTE, failing={}, batches=8)
        self.stage.clock.at(now + 60, push)
        self.stage.clock.at(now + 6 * MINUTE, lambda: None if job.finished else job.cancel())

    def _plain_push(self, appliances: Sequence[SimulatedAppliance], feature: int) -> None:
        job = self.stage.queue(appliances, (feature,))
        push = partial(self.stage.push, job, appliances, seconds=8 * MINUTE, failing={}, batches=6)
        self.stage.clock.at(self.stage.clock.now + 30, push)

    def _retry(self) -> None:
        serials = {serial for serial, _ in self.failing}
        again = [one for one in self.half if one.serial in serials]
        pairs = sorted(self.failing)
        kept = {pair: self.failing[pair] for pair in pairs[: max(1, len(pairs) // 5)]}
        job = self.stage.queue(again, (PATHS, QOS), by="appliance_serial_numbers", backup=True)
        now = self.stage.clock.now
        self.stage.clock.at(
            now + 30, partial(self.stage.push, job, again, seconds=5 * MINUTE, failing=kept, batches=5)
        )
        last = {pair: kept[pair] for pair in sorted(kept)[:1]}
        self.stage.clock.at(now + 9 * MINUTE, partial(self._rerun, job, again, last))

    def _rerun(self, job: SimulatedJob, appliances: Sequence[SimulatedAppliance], failing: Failing) -> None:
        if job.status != "Failed":
            return
        with job.change():
            job.rerun()
            self.stage.push(job, appliances, seconds=3 * MINUTE, failing=failing, batches=3)

    def _late_failure(self) -> None:
        """Add a job that the controller reports as a success although one appliance failed."""
        some = self.fleet[-6:]
        failing = {(some[0].serial, SNMP): SHARED[3]}
        job = self.stage.queue(some, (SNMP,))
        push = partial(
            self.stage.push, job, some, seconds=4 * MINUTE, failing=failing, batches=3, final="Success"
        )
        self.stage.clock.at(self.stage.clock.now + 30, push)


def _failures(stage: Stage, appliances: Sequence[SimulatedAppliance], features: Sequence[int]) -> Failing:
    """Choose about one pair in ten to fail: most with a shared text, some with their own text."""
    pairs = [(one.serial, feature) for one in appliances for feature in features]
    chosen = stage.chance.sample(pairs, max(3, len(pairs) // 10))
    common = cycle((SHARED[0], SHARED[0], SHARED[1], SHARED[0], MULTI_LINE[0], SHARED[2], MULTI_LINE[1]))
    failing: Failing = {}
    for number, pair in enumerate(chosen):
        if number % 5 == 4:  # noqa: PLR2004  every fifth has its own text
            octets = [stage.chance.randrange(1, 250) for _ in range(6)]
            failing[pair] = stage.chance.choice(UNIQUE).format(
                address=".".join(map(str, octets[:4])),
                mac=":".join(f"{octet:02x}" for octet in octets),
                days=octets[4] % 29 + 1,
                pid=1000 + octets[5],
            )
        else:
            failing[pair] = next(common)
    return failing
