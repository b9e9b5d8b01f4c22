"""What happens on the controllers: lanes of jobs that queue, run, fail, succeed, are canceled and run again.

A lane has its own appliances and goes on once somebody was told its last end. So each end must be told, and
which success ends which failure is known without knowing what the bridge saw when.
"""

import asyncio
import random
from collections.abc import Sequence

from cmc_notify.simulator import Row, SimulatedJob, Simulator
from cmc_notify.simulator.catalog import SimulatedAppliance
from cmc_notify.simulator.texts import HOSTILE, MULTI_LINE, PRE_PUSH, SHARED
from support.soak.plan import Plan
from support.soak.receivers import Receivers

SPEED = 60.0
"""Controller seconds in a real one: a rerun a moment later shows other times."""
_APPLIANCES = 3
"""In each lane."""
_LONGEST_STEP = 0.5
# What databases refuse is changed at the wire, so these do not arrive as they were sent.
_TEXTS = (
    *SHARED,
    *MULTI_LINE,
    *(text for name, text in HOSTILE.items() if text and name not in {"nul", "surrogate"}),
)


class Story:
    """All lanes of one controller."""

    def __init__(self, controller: str, sim: Simulator, plan: Plan, receivers: Receivers) -> None:
        self._controller = controller
        self._sim = sim
        self._plan = plan
        self._receivers = receivers

    async def play(self, over: asyncio.Event) -> None:
        """Play until ``over``, and then until each lane's last end was told."""
        estate = self._sim.catalog.grow(self._plan.lanes * _APPLIANCES)
        async with asyncio.TaskGroup() as lanes:
            for number in range(self._plan.lanes):
                own = estate[number * _APPLIANCES : (number + 1) * _APPLIANCES]
                chance = self._plan.chance("lane", self._controller, number)
                lane = _Lane(self._controller, self._sim, own, chance, self._receivers)
                lanes.create_task(lane.play(over))


class _Lane:
    def __init__(
        self,
        controller: str,
        sim: Simulator,
        appliances: Sequence[SimulatedAppliance],
        chance: random.Random,
        receivers: Receivers,
    ) -> None:
        self._controller = controller
        self._sim = sim
        self._serials = [appliance.serial for appliance in appliances]
        self._features = chance.sample(range(1, 9), 2)
        self._chance = chance
        self._receivers = receivers
        self._texts = 0

    async def play(self, over: asyncio.Event) -> None:
        while not over.is_set():
            job = self._sim.jobs.add(feature_ids=self._features, appliance_serial_numbers=self._serials)
            runs = 1
            await self._run(job)
            await self._receivers.ended(self._controller, job.id, runs)
            while not over.is_set() and self._luck(0.3):
                job.rerun("Queued" if self._luck(0.5) else "InProgress")
                runs += 1
                await self._run(job)
                await self._receivers.ended(self._controller, job.id, runs)

    async def _run(self, job: SimulatedJob) -> None:
        """From queued, or already running again, to an end."""
        await self._pass_time()
        if job.status == "Queued":
            if self._luck(0.05):
                job.cancel()
                return
            job.start()
            await self._pass_time()
        if self._luck(0.05):
            job.finish("Failed", error_text=f"{PRE_PUSH} ({self._number()})")
            return
        await self._push(job)

    async def _push(self, job: SimulatedJob) -> None:
        """The rows fill up in steps; a cancel in between leaves the rest undone."""
        pairs = [(serial, feature) for serial in self._serials for feature in self._features]
        self._chance.shuffle(pairs)
        failing = {pair for pair in pairs if self._luck(0.12)}
        job.set_rows([Row(*pair, "Running") for pair in pairs])
        size = self._chance.randint(2, len(pairs))
        for start in range(0, len(pairs), size):
            await self._pass_time()
            if self._luck(0.03):
                job.cancel()
                return
            with job.change():
                for serial, feature in pairs[start : start + size]:
                    failed = (serial, feature) in failing
                    text = f"{self._chance.choice(_TEXTS)} ({self._number()})" if failed else None
                    job.set_row(serial, feature, "Fail" if failed else "Success", text)
        await self._pass_time()
        job.finish("Failed" if failing and self._luck(0.9) else "Success")

    async def _pass_time(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.05, _LONGEST_STEP))

    def _luck(self, share: float) -> bool:
        return self._chance.random() < share

    def _number(self) -> int:
        self._texts += 1
        return self._texts
