"""Serves one sink: claim with a lease, send, then record.

What a crash leaves between sending and recording comes back marked unclear, under the same key. Whatever a
sink does, its worker goes on.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

import structlog

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.core.delivery import AttemptResult, NewDelivery
from cmc_notify.core.events import Event
from cmc_notify.core.flow_control import FlowState
from cmc_notify.core.outcome import Blocked, Rejected
from cmc_notify.core.retry import decide, expired
from cmc_notify.dispatcher.attempt import OUTCOMES, Attempts
from cmc_notify.dispatcher.outage import Outage
from cmc_notify.dispatcher.recorder import STORE_PAUSE, Recorder, log_verdict
from cmc_notify.dispatcher.sink_flow import SinkFlow
from cmc_notify.dispatcher.sink_policy import SinkPolicy, ends_something, replacement
from cmc_notify.dispatcher.sink_watch import SinkWatch
from cmc_notify.errors import StoreError
from cmc_notify.ports import Claim, Clock, Outbox, Sink
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

LINGER = 5.0
"""Seconds that a sink gets beyond its time-out to come back by itself before it is cancelled."""

LEASE_SLACK = 15.0
"""Seconds by which a lease exceeds the longest send, for recording what came of it."""

LOOK_AGAIN = 5.0
"""Seconds after which an idle sink looks by itself: what an operator makes due from the command line, in
another process, wakes nobody here.
"""

_EXPIRED_AT_ONCE = 50


class _Held(NamedTuple):
    """A delivery of ours from its claim until its verdict is written."""

    key: str
    task: asyncio.Task[None] | None
    """What sends it; None for one that is given up unsent."""


class Worker:
    """Serves one sink."""

    def __init__(
        self,
        sink: Sink,
        plan: SinkPolicy,
        outbox: Outbox,
        *,
        fallback_plan: SinkPolicy | None,
        owner: str,
        clock: Clock,
        metrics: Metrics,
        sign_link: Callable[[Event], str | None],
        handed_over: Callable[[], None],
        watch: SinkWatch | None,
    ) -> None:
        """``handed_over`` is called when something may have been given to the fallback sink; ``watch`` is
        told what each attempt came to.
        """
        self._name = sink.name
        self._plan = plan
        self._outbox = outbox
        self._fallback_plan = fallback_plan
        self._owner = owner
        self._clock = clock
        self._metrics = metrics
        self._handed_over = handed_over
        self._watch = watch
        self._attempts = Attempts(sink, outbox, timeout=plan.timeout, linger=LINGER, sign_link=sign_link)
        self._keeper = SinkFlow(sink.name, plan, clock=clock, metrics=metrics)
        self._recorder = Recorder(outbox, owner=owner)
        self._lease = plan.timeout + LINGER + LEASE_SLACK
        self._held: dict[str, _Held] = {}
        self._sending: set[str] = set()
        # The earliest when last asked, and asked again once it has passed: what comes later ends later.
        self._deadline: float | None = None
        self._outage = Outage(sink.name)
        self.in_flight: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()
        self.stopping = False

    @property
    def blocked(self) -> str | None:
        """Why the sink waits for an operator, or None."""
        return self._keeper.blocked

    @property
    def resting(self) -> str | None:
        """Why the sink is spared for a while, or None."""
        return self._keeper.resting

    async def run(self) -> None:
        """Claim and send until told to stop; whatever fails is tried again."""
        while not self.stopping:
            self.wake.clear()
            more = False
            try:
                more = await self._claim()
                wait = None if more else await self._time_to_next()
                if self._outage.lasts:
                    # There may have been nothing to ask the store for.
                    await self._outbox.next_due(self._name)
                    self._outage.is_over()
            except StoreError as error:
                self._outage.shows(error)
                wait = STORE_PAUSE
            except Exception:  # noqa: BLE001  logged; a sink that nobody serves would lose every alert
                _log.exception("dispatcher.bug", sink=self._name)
                wait = STORE_PAUSE
            if not more and not self.stopping:
                await self._sleep(wait)

    async def keep_leases(self) -> None:
        """Renew the leases of what is in flight, until cancelled."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await self._renew()
            except StoreError as error:
                self._outage.shows(error)
            except Exception:  # noqa: BLE001  logged; leases that nobody renews would bring repeats
                _log.exception("dispatcher.bug", sink=self._name)

    async def _renew(self) -> None:
        """Another replica may have taken over what we held for too long: then ours must not go on."""
        if not (held := dict(self._held)):
            return
        sending = self._sending & held.keys()
        ours = await self._outbox.renew(held, owner=self._owner, lease=self._lease)
        for delivery_id in (sending & self._sending) - ours:
            task = held[delivery_id].task
            if task and held[delivery_id] is self._held.get(delivery_id):
                _log.warning("delivery.lease_lost", sink=self._name, delivery=delivery_id)
                task.cancel()

    async def _claim(self) -> bool:
        """Claim what there is room for and send it; False where there was less: then there is no more."""
        if self._recorder.owes:
            return False
        asked = self._keeper.room(len(self.in_flight))
        if asked <= 0:
            return await self._expire()
        claims = await self._outbox.claim(
            self._name,
            owner=self._owner,
            limit=asked,
            lease=self._lease,
            # While one message at a time tries, one that is never taken must not be the one each time.
            in_turn=self._keeper.gate.state is not FlowState.CLOSED,
        )
        new = self._not_held(claims)
        # While the store was asked, an answer may have come that leaves less room, or our end.
        room = 0 if self.stopping else self._keeper.room(len(self.in_flight))
        for claim in new[:room]:
            self._begin(claim)
        await self._recorder.give_back(new[room:])
        return len(claims) >= asked

    def _not_held(self, claims: Sequence[Claim]) -> list[Claim]:
        """Where our own lease has lapsed, the delivery is ours already: its end need only be written down.

        Under another key an operator wants it sent anew, whatever becomes of what is under way.
        """
        for claim in claims:
            held = self._held.get(claim.delivery.id)
            if held and held.task and held.key != claim.delivery.key:
                held.task.cancel()
                self._let_go(claim.delivery.id)
        return [claim for claim in claims if claim.delivery.id not in self._held]

    def _begin(self, claim: Claim) -> None:
        delivery_id = claim.delivery.id
        task = asyncio.create_task(self._deliver(claim), name=f"send:{delivery_id}")
        self.in_flight.add(task)
        self._held[delivery_id] = _Held(claim.delivery.key, task)
        self._sending.add(delivery_id)

        def landed(task: asyncio.Task[None]) -> None:
            self.in_flight.discard(task)
            if (held := self._held.get(delivery_id)) and held.task is task:
                self._let_go(delivery_id)
            self.wake.set()
            if not task.cancelled() and (error := task.exception()):
                _log.error("delivery.lost_track", sink=self._name, error=repr(error))

        task.add_done_callback(landed)

    def _let_go(self, delivery_id: str) -> None:
        self._held.pop(delivery_id, None)
        self._sending.discard(delivery_id)

    async def _expire(self) -> bool:
        """While nothing can be sent, what reaches its deadline is given up in time all the same."""
        if not self._keeper.ages():
            return False
        if self._deadline is None or self._deadline <= self._clock():
            self._deadline = await self._outbox.next_deadline(self._name)
        if self._deadline is None or self._deadline > self._clock():
            return False
        claims = await self._outbox.claim_expired(
            self._name, owner=self._owner, limit=_EXPIRED_AT_ONCE, lease=self._lease
        )
        new = self._not_held(claims)
        if self.stopping or not self._keeper.ages():
            await self._recorder.give_back(new)
            return bool(claims)
        mine = {claim.delivery.id: _Held(claim.delivery.key, None) for claim in new}
        self._held.update(mine)
        try:
            for claim in new:
                await self._give_up(claim)
        finally:
            for delivery_id in mine:
                self._let_go(delivery_id)
        return bool(claims)

    async def _give_up(self, claim: Claim) -> None:
        verdict = expired(
            self._keeper.gate.reason, unclear=claim.delivery.unclear, fallback=self._replacement(claim)
        )
        await self._settle(claim, verdict)
        if self._watch:
            await self._watch.attempted(claim.event, Rejected(verdict.error or ""))

    async def _time_to_next(self) -> float | None:
        """Seconds until something can be claimed; None to wait for a call."""
        now, gate = self._clock(), self._keeper.gate
        if self._recorder.owes:
            return None
        if gate.room(now, len(self.in_flight)) > 0:
            due = await self._outbox.next_due(self._name)
            return LOOK_AGAIN if due is None else min(max(due - self._clock(), 0.01), LOOK_AGAIN)
        waits = [gate.opens_at - now] if gate.resting(now) else []
        if gate.ages(now) and self._deadline is not None:
            # One that has passed and can't be claimed is leased, or stands behind another.
            waits.append(self._deadline - now if self._deadline > now else LOOK_AGAIN)
        return min(waits, default=None)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            pass

    async def _deliver(self, claim: Claim) -> None:
        delivery = claim.delivery
        reached(Boundary.DELIVERY_CLAIMED)
        begun_at, started = self._clock(), perf_counter()
        outcome = await self._attempts.make(claim)
        self._sending.discard(delivery.id)
        reached(Boundary.DELIVERY_ANSWERED)
        self._metrics.delivery_seconds.labels(self._name).observe(perf_counter() - started)
        self._metrics.deliveries_total.labels(self._name, OUTCOMES[type(outcome)]).inc()
        now = self._clock()
        verdict = decide(
            outcome,
            attempts=delivery.attempts + 1,
            now=now,
            deadline_at=delivery.deadline_at,
            policy=self._plan.retry,
            chance=random.random(),  # noqa: S311  spreads retries, guards nothing
            fallback=self._replacement(claim),
            unclear=delivery.unclear,
            resolves=ends_something(claim, self._fallback_plan),
        )
        self._keeper.judge(outcome, begun_at=begun_at, now=now)
        await self._settle(claim, verdict)
        self._let_go(delivery.id)
        if isinstance(outcome, Blocked):
            await self._stop_ageing()
        if self._watch:
            await self._watch.attempted(claim.event, outcome)

    async def _settle(self, claim: Claim, verdict: AttemptResult) -> None:
        log_verdict(verdict, claim.delivery, fallback=self._plan.fallback)
        await self._recorder.record(claim.delivery, verdict)
        if verdict.fallback:
            self._handed_over()

    def _replacement(self, claim: Claim) -> NewDelivery | None:
        return replacement(claim, self._plan, self._fallback_plan, now=self._clock())

    async def _stop_ageing(self) -> None:
        """A held queue must not be a queue of dead letters at its first trouble after the release."""
        try:
            await self._outbox.renew_deadlines(self._name)
        except StoreError as error:
            # The next probe does it again.
            self._outage.shows(error)
