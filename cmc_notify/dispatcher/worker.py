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
from cmc_notify.dispatcher.attempt import OUTCOME_LABELS, Attempts
from cmc_notify.dispatcher.outage import StoreOutage
from cmc_notify.dispatcher.recorder import STORE_RETRY_AFTER, Recorder, log_result
from cmc_notify.dispatcher.sink_flow import SinkFlow
from cmc_notify.dispatcher.sink_policy import SinkPolicy, fallback_delivery, fallback_needs_end
from cmc_notify.dispatcher.sink_watch import SinkWatch
from cmc_notify.errors import StoreError
from cmc_notify.ports import Claim, Clock, Outbox, Sink
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

TIMEOUT_MARGIN = 5.0
"""Seconds that a sink gets beyond its time-out to come back by itself before it is cancelled."""

LEASE_MARGIN = 15.0
"""Seconds by which a lease exceeds the longest send, for recording what came of it."""

IDLE_CHECK_EVERY = 5.0
"""Seconds after which an idle sink looks by itself: what an operator makes due from the command line, in
another process, wakes nobody here.
"""

_EXPIRED_BATCH = 50


class _Claimed(NamedTuple):
    """A delivery of ours from its claim until its verdict is written."""

    key: str
    task: asyncio.Task[None] | None
    """What sends it; None for one that is given up unsent."""


class Worker:
    """Serves one sink."""

    def __init__(
        self,
        sink: Sink,
        policy: SinkPolicy,
        outbox: Outbox,
        *,
        fallback_policy: SinkPolicy | None,
        owner: str,
        clock: Clock,
        metrics: Metrics,
        sign_link: Callable[[Event], str | None],
        on_fallback: Callable[[], None],
        watch: SinkWatch | None,
    ) -> None:
        """``on_fallback`` is called when something may have been given to the fallback sink; ``watch`` is
        told what each attempt came to.
        """
        self._name = sink.name
        self._policy = policy
        self._outbox = outbox
        self._fallback_policy = fallback_policy
        self._owner = owner
        self._clock = clock
        self._metrics = metrics
        self._on_fallback = on_fallback
        self._watch = watch
        self._attempts = Attempts(
            sink, outbox, timeout=policy.timeout, margin=TIMEOUT_MARGIN, sign_link=sign_link
        )
        self._flow = SinkFlow(sink.name, policy, clock=clock, metrics=metrics)
        self._recorder = Recorder(outbox, owner=owner)
        self._lease = policy.timeout + TIMEOUT_MARGIN + LEASE_MARGIN
        self._claimed: dict[str, _Claimed] = {}
        self._sending: set[str] = set()
        # The earliest when last asked, and asked again once it has passed: what comes later ends later.
        self._deadline: float | None = None
        self._outage = StoreOutage(sink.name)
        self.in_flight: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()
        self.stopping = False

    @property
    def blocked(self) -> str | None:
        """Why the sink waits for an operator, or None."""
        return self._flow.blocked

    @property
    def resting(self) -> str | None:
        """Why the sink is spared for a while, or None."""
        return self._flow.resting

    async def run(self) -> None:
        """Claim and send until told to stop; whatever fails is tried again."""
        while not self.stopping:
            self.wake.clear()
            more = False
            try:
                more = await self._claim()
                wait = None if more else await self._seconds_to_next()
                if self._outage.ongoing:
                    # There may have been nothing to ask the store for.
                    await self._outbox.next_due(self._name)
                    self._outage.note_recovery()
            except StoreError as error:
                self._outage.note_failure(error)
                wait = STORE_RETRY_AFTER
            except Exception:  # noqa: BLE001  logged; a sink that nobody serves would lose every alert
                _log.exception("dispatcher.bug", sink=self._name)
                wait = STORE_RETRY_AFTER
            if not more and not self.stopping:
                await self._sleep(wait)

    async def keep_leases(self) -> None:
        """Renew the leases of what is in flight, until cancelled."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await self._renew()
            except StoreError as error:
                self._outage.note_failure(error)
            except Exception:  # noqa: BLE001  logged; leases that nobody renews would bring repeats
                _log.exception("dispatcher.bug", sink=self._name)

    async def _renew(self) -> None:
        """Another replica may have taken over what we claimed for too long: then ours must not go on."""
        if not (claimed := dict(self._claimed)):
            return
        sending = self._sending & claimed.keys()
        ours = await self._outbox.renew(claimed, owner=self._owner, lease=self._lease)
        for delivery_id in (sending & self._sending) - ours:
            task = claimed[delivery_id].task
            if task and claimed[delivery_id] is self._claimed.get(delivery_id):
                _log.warning("delivery.lease_lost", sink=self._name, delivery=delivery_id)
                task.cancel()

    async def _claim(self) -> bool:
        """Claim what there is room for and send it; False where there was less: then there is no more."""
        if self._recorder.has_unrecorded:
            return False
        asked = self._flow.capacity(len(self.in_flight))
        if asked <= 0:
            return await self._expire()
        claims = await self._outbox.claim(
            self._name,
            owner=self._owner,
            limit=asked,
            lease=self._lease,
            # While one message at a time tries, one that is never taken must not be the one each time.
            in_turn=self._flow.flow.state is not FlowState.NORMAL,
        )
        new = self._not_claimed_here(claims)
        # While the store was asked, an answer may have come that leaves less room, or our end.
        room = 0 if self.stopping else self._flow.capacity(len(self.in_flight))
        for claim in new[:room]:
            self._start_sending(claim)
        await self._recorder.give_back(new[room:])
        return len(claims) >= asked

    def _not_claimed_here(self, claims: Sequence[Claim]) -> list[Claim]:
        """Where our own lease has lapsed, the delivery is ours already: its end need only be written down.

        Under another key an operator wants it sent anew, whatever becomes of what is under way.
        """
        for claim in claims:
            claimed = self._claimed.get(claim.delivery.id)
            if claimed and claimed.task and claimed.key != claim.delivery.key:
                claimed.task.cancel()
                self._forget(claim.delivery.id)
        return [claim for claim in claims if claim.delivery.id not in self._claimed]

    def _start_sending(self, claim: Claim) -> None:
        delivery_id = claim.delivery.id
        task = asyncio.create_task(self._deliver(claim), name=f"send:{delivery_id}")
        self.in_flight.add(task)
        self._claimed[delivery_id] = _Claimed(claim.delivery.key, task)
        self._sending.add(delivery_id)

        def on_done(task: asyncio.Task[None]) -> None:
            self.in_flight.discard(task)
            if (claimed := self._claimed.get(delivery_id)) and claimed.task is task:
                self._forget(delivery_id)
            self.wake.set()
            if not task.cancelled() and (error := task.exception()):
                _log.error("delivery.lost_track", sink=self._name, error=repr(error))

        task.add_done_callback(on_done)

    def _forget(self, delivery_id: str) -> None:
        self._claimed.pop(delivery_id, None)
        self._sending.discard(delivery_id)

    async def _expire(self) -> bool:
        """While nothing can be sent, what reaches its deadline is given up in time all the same."""
        if not self._flow.deadlines_apply():
            return False
        if self._deadline is None or self._deadline <= self._clock():
            self._deadline = await self._outbox.next_deadline(self._name)
        if self._deadline is None or self._deadline > self._clock():
            return False
        claims = await self._outbox.claim_expired(
            self._name, owner=self._owner, limit=_EXPIRED_BATCH, lease=self._lease
        )
        new = self._not_claimed_here(claims)
        if self.stopping or not self._flow.deadlines_apply():
            await self._recorder.give_back(new)
            return bool(claims)
        mine = {claim.delivery.id: _Claimed(claim.delivery.key, None) for claim in new}
        self._claimed.update(mine)
        try:
            for claim in new:
                await self._record_expired(claim)
        finally:
            for delivery_id in mine:
                self._forget(delivery_id)
        return bool(claims)

    async def _record_expired(self, claim: Claim) -> None:
        verdict = expired(
            self._flow.flow.reason, unclear=claim.delivery.unclear, fallback=self._fallback_delivery(claim)
        )
        await self._record(claim, verdict)
        if self._watch:
            await self._watch.record_attempt(claim.event, Rejected(verdict.error or ""))

    async def _seconds_to_next(self) -> float | None:
        """Seconds until something can be claimed; None to wait for a call."""
        now, flow = self._clock(), self._flow.flow
        if self._recorder.has_unrecorded:
            return None
        if flow.capacity(now, len(self.in_flight)) > 0:
            due = await self._outbox.next_due(self._name)
            return IDLE_CHECK_EVERY if due is None else min(max(due - self._clock(), 0.01), IDLE_CHECK_EVERY)
        waits = [flow.next_start_at - now] if flow.waits(now) else []
        if flow.deadlines_apply(now) and self._deadline is not None:
            # One that has passed and can't be claimed is leased, or stands behind another.
            waits.append(self._deadline - now if self._deadline > now else IDLE_CHECK_EVERY)
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
        reached(Boundary.DELIVERY_ATTEMPTED)
        self._metrics.delivery_seconds.labels(self._name).observe(perf_counter() - started)
        self._metrics.deliveries_total.labels(self._name, OUTCOME_LABELS[type(outcome)]).inc()
        now = self._clock()
        verdict = decide(
            outcome,
            attempts=delivery.attempts + 1,
            now=now,
            deadline_at=delivery.deadline_at,
            policy=self._policy.retry,
            chance=random.random(),  # noqa: S311  spreads retries, guards nothing
            fallback=self._fallback_delivery(claim),
            unclear=delivery.unclear,
            resolves=fallback_needs_end(claim, self._fallback_policy),
        )
        self._flow.record_attempt(outcome, begun_at=begun_at, now=now)
        await self._record(claim, verdict)
        self._forget(delivery.id)
        if isinstance(outcome, Blocked):
            await self._renew_deadlines()
        if self._watch:
            await self._watch.record_attempt(claim.event, outcome)

    async def _record(self, claim: Claim, verdict: AttemptResult) -> None:
        log_result(verdict, claim.delivery, fallback=self._policy.fallback)
        await self._recorder.record(claim.delivery, verdict)
        if verdict.fallback:
            self._on_fallback()

    def _fallback_delivery(self, claim: Claim) -> NewDelivery | None:
        return fallback_delivery(claim, self._policy, self._fallback_policy, now=self._clock())

    async def _renew_deadlines(self) -> None:
        """A claimed queue must not be a queue of dead letters at its first trouble after the release."""
        try:
            await self._outbox.renew_deadlines(self._name)
        except StoreError as error:
            # The next probe does it again.
            self._outage.note_failure(error)
