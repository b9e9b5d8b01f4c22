"""What goes wrong, and when: replicas killed or frozen, the database stopped, controllers failing."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Literal

from cmc_notify.simulator import Simulator
from cmc_notify.simulator.faults import FAULT_KINDS
from support.soak.fleet import Fleet, Life
from support.soak.plan import Plan
from support.soak.receivers import Receivers
from support.soak.record import Arrival, Freeze, Kill, Record, Stop
from support.soak.store import Store, leased_by, led_by

Aim = Literal["any", "held", "answered"]
_AIMS: tuple[Aim, ...] = ("any", "held", "answered")
"""Whoever it may be; whose request a receiver holds; whose request it has just accepted."""
_AIM_WITHIN = 1.0
"""Seconds to wait for such a request; without one, whoever it may be."""
_EARLY = 0.1
_MANY = 2
_DOWN = (0.5, 3.0)
_FROZEN = (8.0, 1.3)
"""Seconds beyond a leader's lease, and the factor of a delivery's lease."""
_DELIVERY_LEASE = 20.0
"""Seconds by which a delivery's lease exceeds the sink's time-out."""


class Chaos:
    """All of it, each kind at its own pace. Kills, freezes and stops are on record with what they met."""

    def __init__(
        self, plan: Plan, record: Record, *, fleet: Fleet, receivers: Receivers, store: Store
    ) -> None:
        self._plan = plan
        self._record = record
        self._fleet = fleet
        self._receivers = receivers
        self._store = store
        self._database = asyncio.Lock()

    def tasks(self) -> list[Coroutine[object, object, None]]:
        """Each runs until it is cancelled, and then leaves nothing stopped."""
        plan = self._plan
        paces: list[tuple[float | None, Callable[[random.Random], Coroutine[object, object, None]]]] = [
            (plan.kill_every, self._kill),
            (plan.freeze_every, self._freeze),
            (plan.stop_every if plan.store == "postgresql" else None, self._stop),
        ]
        return [self._repeat(every, harm) for every, harm in paces if every]

    async def _repeat(
        self, every: float, harm: Callable[[random.Random], Coroutine[object, object, None]]
    ) -> None:
        chance = self._plan.chance("chaos", harm.__name__)
        while True:
            await asyncio.sleep(every * chance.uniform(0.5, 1.5))
            await harm(chance)

    async def _kill(self, chance: random.Random) -> None:
        # One that works stays, so that there is always somebody to take over.
        await self._fleet.wait(lambda: self._fleet.working >= min(self._plan.replicas, _MANY))
        aim = chance.choice(_AIMS)
        target = chance.random()
        aimed = await self._aim(aim) if aim != "any" else None
        # Now and then one that is still starting; always those would leave nobody to work.
        early = chance.random() < _EARLY
        lives = [
            life
            for _, life in sorted(self._fleet.alive.items())
            if not (life.killed or life.frozen) and (life.started or early)
        ]
        life = aimed or (lives[int(target * len(lives))] if lives else None)
        if life is None:
            return
        # The dead can't be asked, but what they held and led stands in the store until its time is over.
        led = await led_by(self._store, life.pid)
        at = time.monotonic()
        life.killed = True
        life.signal(signal.SIGKILL)
        await life.ended()
        self._record.kills.append(Kill(at, life.name, await leased_by(self._store, life.pid), led))

    async def _aim(self, aim: Aim) -> Life | None:
        """The sender of the next request that is held, or was just accepted; it is stopped at that moment."""
        loop = asyncio.get_running_loop()
        hit: asyncio.Future[Life] = loop.create_future()

        def strike(arrival: Arrival) -> None:
            for life in self._fleet.alive.values():
                if life.name == arrival.life and not hit.done():
                    life.signal(signal.SIGSTOP)  # it stands still until the kill, a moment later
                    hit.set_result(life)

        if aim == "held":
            self._receivers.on_hold = strike
        else:
            self._receivers.on_answer = strike
        try:
            async with asyncio.timeout(_AIM_WITHIN):
                return await hit
        except TimeoutError:
            # Hit in the very moment of giving up: it stands still, and nobody else would end that.
            return hit.result() if hit.done() and not hit.cancelled() else None
        finally:
            self._receivers.on_hold = self._receivers.on_answer = None

    async def _freeze(self, chance: random.Random) -> None:
        await self._fleet.wait(lambda: self._fleet.working >= _MANY)
        lives = [life for life in self._fleet.alive.values() if life.started and not life.killed]
        life = chance.choice(sorted(lives, key=lambda life: life.name))
        lease = self._plan.sink_timeout + _DELIVERY_LEASE
        seconds = chance.choice((_FROZEN[0], _FROZEN[1] * lease))
        led = await led_by(self._store, life.pid)
        began = time.monotonic()
        life.frozen = True
        life.signal(signal.SIGSTOP)
        leased = await leased_by(self._store, life.pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            life.signal(signal.SIGCONT)
            life.frozen = False
            self._record.freezes.append(Freeze(began, time.monotonic(), life.name, leased, led))

    async def _stop(self, chance: random.Random) -> None:
        began = time.monotonic()
        try:
            await self._store.stop()
            await asyncio.sleep(chance.uniform(*_DOWN))
        finally:
            await asyncio.shield(self._store.start())
            self._record.stops.append(Stop(began, time.monotonic()))


async def weather(plan: Plan, name: str, sim: Simulator) -> None:
    """Short outages of a controller, of every kind, until cancelled."""
    chance = plan.chance("weather", name)
    while True:
        await asyncio.sleep(chance.uniform(3.0, 8.0))
        with sim.outage(chance.choice(FAULT_KINDS)):
            await asyncio.sleep(chance.uniform(0.2, 1.0))
