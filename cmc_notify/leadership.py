"""Choose the leader of each controller, the replica that polls it: at most one, and soon one after a death.

A lead is a lease in the store, renewed long before it ends. By this process' own clock it ends no later than
in the store, even if the store does not respond. A process that was suspended, and so could not see the end,
is stopped by its outdated fence. A leader that dies is replaced within ``TTL`` and one ``CHECK_EVERY``.

When a lead is lost, a running poll is cancelled: before its commit it never happened, and the next leader
finds the same changes. When a lead is given up, a running poll ends first.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from cmc_notify.core.leader_balance import may_take, names_to_release, sender_name
from cmc_notify.errors import StoreError
from cmc_notify.ports import Fence, Leadership, Replicas
from cmc_notify.telemetry import LoggedReasons, Metrics

_log = structlog.get_logger(__name__)

TTL = 6.0
"""Seconds that a lead lasts unless it is renewed."""
CHECK_EVERY = 1.5
"""Seconds between two checks of who leads."""
JITTER = 0.2
"""A check comes up to this part of ``CHECK_EVERY`` early, so that replicas do not check in step."""
KEEP_TTLS = 50
"""For so many times ``TTL`` a replica gives up no lead, once another has not taken one that was its turn."""
PARALLEL = 8
"""Leads renewed at once. With many leads and a distant store, one after another would take too long.

It is less than the store's connections, so that polls and deliveries get some too.
"""
RELEASE_WITHIN = 1.0
"""Seconds for the release of all leads at the stop; leads not released by then end after ``TTL``."""
_POLLS = "poll:"
_NOBODY = Replicas(candidates={}, leaders={})


def lead_name(controller: str) -> str:
    """Return the name of the lead in the store."""
    return _POLLS + controller


class LeadHandler(Protocol):
    """Starts and stops the polls of the controllers that this replica leads."""

    def start_polling(self, controller: str, fence: Fence) -> None:
        """Poll the controller under this fence from now on, for the first time at once."""
        ...

    def cancel_polling(self, controller: str) -> None:
        """Stop at once: another may poll it already."""
        ...

    async def finish_polling(self, controller: str) -> None:
        """Start no other poll, and wait for the end of a running one."""
        ...


@dataclass(eq=False)
class _Lead:
    """A lead of this replica. ``expiry`` ends it in time."""

    fence: Fence
    expiry: asyncio.TimerHandle
    release_task: asyncio.Task[None] | None = None


class LeaderElection:
    """The leads of one replica, from :meth:`serve` to :meth:`stop`. A reload replaces only the handler."""

    def __init__(
        self,
        store: Leadership,
        *,
        owner: str,
        metrics: Metrics,
        ttl: float = TTL,
        check_every: float = CHECK_EVERY,
    ) -> None:
        """``owner`` names this process among all that use the store; times are in seconds."""
        self.owner = owner
        self._store = store
        self._metrics = metrics
        self._ttl = ttl
        self._check_every = check_every
        self._handler: LeadHandler | None = None
        self._controllers: frozenset[str] = frozenset()
        self._sinks: frozenset[str] = frozenset()
        self._leads: dict[str, _Lead] = {}
        self._seen = _NOBODY
        self._free_since: dict[str, float] = {}
        self._avoided_until: dict[str, float] = {}
        self._keep_until = 0.0
        self._reasons = LoggedReasons()
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def serve(
        self, controllers: Collection[str], handler: LeadHandler, *, sinks: Collection[str] = ()
    ) -> None:
        """Lead these controllers for this handler; present leads continue under the same fence.

        ``sinks`` names the sinks of this replica. The others see it, so that none ends their deliveries.
        """
        known = self._controllers | set(controllers)
        self._controllers = frozenset(controllers)
        self._sinks = frozenset(sinks)
        self._handler = handler
        for name in known:
            self._update_metric(name)
        for name, lead in self._leads.items():
            if name in self._controllers and not lead.release_task:
                handler.start_polling(name, lead.fence)
        self._wake.set()
        self._running = self._running or asyncio.create_task(self._run(), name="leadership")

    async def stop(self) -> None:
        """Give up every lead, so that other replicas take over at once."""
        if self._running is None:
            return
        fences = [lead.fence for lead in self._leads.values()]
        tasks = [lead.release_task for lead in self._leads.values() if lead.release_task]
        tasks.append(self._running)
        self._running = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in tuple(self._leads):
            self._remove(name)
        try:
            async with asyncio.timeout(RELEASE_WITHIN):
                await asyncio.gather(*(self._store.release(fence) for fence in fences))
                await self._store.unregister(self.owner)
        except (StoreError, TimeoutError) as error:
            _log.warning("leadership.not_released", error=str(error) or "the store did not respond in time")

    def is_leader(self, controller: str) -> bool:
        """Return True if this replica leads the controller."""
        return controller in self._leads

    def leader(self, controller: str) -> str | None:
        """Return the leader as of the last check; None while there is none."""
        if controller in self._leads:
            return self.owner
        leader = self._seen.leaders.get(lead_name(controller))
        return None if leader == self.owner else leader

    def step_down(self, controller: str) -> None:
        """Give up the lead because polls hang here, if another replica can take it."""
        if controller in self._leads and self._others(controller):
            self._avoided_until[controller] = self._now() + 2 * self._ttl
            self._begin_release(controller, "polls hang")

    # --- one check ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                # Leads expire on their own meanwhile; the limit ends a wait for a dead connection.
                async with asyncio.timeout(self._ttl):
                    await self._check()
            except (StoreError, TimeoutError) as error:
                self._log_failure(str(error) or f"the store did not respond within {self._ttl:g} s")
            except Exception:  # noqa: BLE001  after any error this replica must continue
                _log.exception("leadership.bug")
            else:
                self._reasons.clear()
            pause = self._check_every * (1 - JITTER * random.random())  # noqa: S311  spreads checks, guards nothing
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _check(self) -> None:
        wanted = [lead_name(name) for name in self._controllers] + [sender_name(name) for name in self._sinks]
        self._seen = await self._store.register(self.owner, wanted, ttl=self._ttl)
        await self._renew_all()
        self._release_surplus()
        await self._acquire_free()

    async def _renew_all(self) -> None:
        limit = asyncio.Semaphore(PARALLEL)

        async def one(name: str, lead: _Lead) -> None:
            async with limit:
                await self._renew(name, lead)

        await asyncio.gather(*(one(name, lead) for name, lead in self._leads.items()))

    async def _renew(self, name: str, lead: _Lead) -> None:
        began = self._now()
        renewed = await self._store.renew(lead.fence, ttl=self._ttl)
        if self._leads.get(name) is not lead:
            return
        if renewed:
            lead.expiry.cancel()
            lead.expiry = self._expire_at(name, began)
        else:
            self._lose(name, "another replica leads now")

    def _release_surplus(self) -> None:
        """Give up controllers that left the config, and leads that replicas with fewer should have."""
        held = [name for name, lead in self._leads.items() if not lead.release_task]
        for name in set(held) - self._controllers:
            self._begin_release(name, "no longer in the config")
        loads = self._load_by_replica()
        loads[self.owner] = len(held)
        free = any(lead_name(name) not in self._seen.leaders for name in self._controllers)
        if free or self._now() < self._keep_until:
            return  # a free one may have been given up just now, and not be taken yet
        mine = [lead_name(name) for name in held]
        for found in names_to_release(mine, self.owner, loads, self._seen.candidates):
            self._begin_release(found.removeprefix(_POLLS), "another replica has fewer")

    async def _acquire_free(self) -> None:
        loads = self._load_by_replica()
        loads[self.owner] = len(self._leads)
        enough = self._now() + self._ttl / 3  # the present leads must be renewed in time
        for name in sorted(self._controllers - self._leads.keys()):
            if self._now() > enough:
                self._wake.set()
                return
            leader = self._seen.leaders.get(lead_name(name))
            if leader not in (None, self.owner):
                self._free_since.pop(name, None)
            elif self._may_acquire(name, loads) and await self._acquire(name):
                loads[self.owner] += 1

    def _may_acquire(self, name: str, loads: Counter[str]) -> bool:
        now = self._now()
        since = self._free_since.setdefault(name, now)
        if self._others(name) and self._avoided_until.get(name, now) > now:
            return False
        if may_take(lead_name(name), self.owner, loads, self._seen.candidates):
            return True
        if now - since <= self._ttl:
            return False
        # The replica whose turn it was does not take it, and would not take one that we gave up now.
        self._keep_until = now + KEEP_TTLS * self._ttl
        return True

    async def _acquire(self, name: str) -> bool:
        began = self._now()
        fence = await self._store.acquire(lead_name(name), owner=self.owner, ttl=self._ttl)
        if fence is None:
            return False
        self._free_since.pop(name, None)
        self._avoided_until.pop(name, None)
        self._leads[name] = _Lead(fence, self._expire_at(name, began))
        self._update_metric(name)
        _log.info("lead.taken", controller=name, fence=fence.token)
        assert self._handler
        self._handler.start_polling(name, fence)
        return True

    # --- the end of a lead ----------------------------------------------------------------------------

    def _expire_at(self, name: str, began: float) -> asyncio.TimerHandle:
        """Set a timer by our own clock, started before the store's: we stop before another may start."""
        reason = f"it was not renewed for {self._ttl:g} s"
        return asyncio.get_running_loop().call_at(began + self._ttl, self._lose, name, reason)

    def _lose(self, name: str, reason: str) -> None:
        release_task = self._leads[name].release_task
        self._remove(name)
        if release_task:
            release_task.cancel()
        _log.warning("lead.lost", controller=name, reason=reason)
        assert self._handler
        self._handler.cancel_polling(name)

    def _begin_release(self, name: str, reason: str) -> None:
        lead = self._leads[name]
        if not lead.release_task:
            lead.release_task = asyncio.create_task(self._release(name, lead, reason), name=f"release {name}")

    async def _release(self, name: str, lead: _Lead, reason: str) -> None:
        assert self._handler
        await self._handler.finish_polling(name)
        self._remove(name)
        _log.info("lead.given_up", controller=name, reason=reason)
        try:
            await self._store.release(lead.fence)
        except StoreError as error:
            self._log_failure(str(error))  # the lease ends without it

    def _remove(self, name: str) -> None:
        self._leads.pop(name).expiry.cancel()
        self._update_metric(name)

    def _update_metric(self, name: str) -> None:
        """Show or remove the metric: a controller that left the config must not keep its last value."""
        if name in self._leads or name in self._controllers:
            self._metrics.leads.labels(name).set(float(name in self._leads))
        else:
            self._metrics.leads.remove(name)

    # --- state as of the last check -------------------------------------------------------------------

    def _load_by_replica(self) -> Counter[str]:
        return Counter(leader for name, leader in self._seen.leaders.items() if name.startswith(_POLLS))

    def _others(self, controller: str) -> bool:
        wanted = lead_name(controller)
        return any(owner != self.owner and wanted in names for owner, names in self._seen.candidates.items())

    def _log_failure(self, error: str) -> None:
        if self._reasons.is_new(error):
            _log.error("leadership.failed", error=error, remedy="leads expire until the store responds again")

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
