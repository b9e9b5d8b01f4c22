"""A poller on a real store, asking a simulated controller over HTTP; time passes by hand."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cmc_notify.controller import Controller
from cmc_notify.core.events import Event
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Route
from cmc_notify.poller import NotifyRules, Poller, PollResult
from cmc_notify.ports import ControllerMeta
from cmc_notify.settings.controller import ControllerSettings
from cmc_notify.simulator import OPEN, Quirks, Simulator
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics
from support.new_store import new_store


class SameClock(Controller):
    """A controller whose clock is the bridge's: both pass by hand."""

    @property
    def clock_offset(self) -> float:
        """None ahead of the other."""
        return 0.0


class PollerHarness:
    """One controller, one store, one poller at a time. The bridge's clock runs with the controller's."""

    def __init__(self, sim: Simulator, store: Store, settings: ControllerSettings) -> None:
        self.sim = sim
        self.store = store
        self.settings = settings
        self.result = PollResult(ok=False, busy=False)
        self.metrics = Metrics()
        self._controllers: list[Controller] = []
        self._told: set[str] = set()
        self.poller = self.new_poller()

    def new_poller(self, **changed: Any) -> Poller:
        """A poller that knows nothing but the store, as after a restart."""
        controller = SameClock("emea", self.settings)
        self._controllers.append(controller)
        rules = NotifyRules(routes=(Route(sinks=("hook",)),), sinks={"hook": SinkProfile()}, **changed)
        return Poller(
            "emea",
            controller,
            self.store.poll,
            self.settings,
            rules,
            clock=lambda: self.sim.now,
            metrics=self.metrics,
        )

    def restart(self) -> None:
        """Go on with a new poller."""
        self.poller = self.new_poller()

    async def poll(self, after: float = 15) -> list[str]:
        """Time passes, then one poll; what it told as ``<job id> <type>``, in order."""
        return [f"{e.job.id if e.job else '-'} {e.type.value}" for e in await self.events(after)]

    async def events(self, after: float = 15) -> Sequence[Event]:
        """As poll, with the events whole."""
        self.sim.advance(after)
        self.result = await self.poller.poll()
        every = await self.store.ledger.events(limit=10_000)
        new = [event for event in reversed(every) if event.id not in self._told]
        self._told.update(event.id for event in new)
        return new

    async def requests(self, after: float = 15) -> list[str]:
        """As poll; the requests that it made for jobs, without the common beginning."""
        before = len(self.sim.requests)
        await self.poll(after)
        marks = [
            entry.target.partition("/jobs")[2]
            for entry in self.sim.requests[before:]
            if "/jobs" in entry.target
        ]
        return [mark or "full" for mark in marks]

    async def meta(self) -> ControllerMeta:
        """What the store says of the controller."""
        return (await self.store.ledger.snapshots())["emea"]

    async def close(self) -> None:
        """Release the connections."""
        for controller in self._controllers:
            await controller.close()


@asynccontextmanager
async def polling(
    folder: Path, *, quirks: Quirks | None = None, first_run: Any = "all", **poll: Any
) -> AsyncIterator[PollerHarness]:
    """A harness on an empty controller."""
    sim = Simulator("empty", speed=0, quirks=quirks, auth=OPEN)
    store = await new_store(folder / "poller.db", clock=lambda: sim.now)
    try:
        async with sim:
            assert sim.url
            settings = ControllerSettings(
                url=sim.url,
                first_run=first_run,
                poll={"timeout": 0.3, "unreachable_after": 2, **poll},
                overdue={},
            )
            harness = PollerHarness(sim, store, settings)
            try:
                yield harness
            finally:
                await harness.close()
    finally:
        await store.close()
