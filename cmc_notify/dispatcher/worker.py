"""Serve one sink: claim with a lease, send, then record.

A delivery that a crash leaves between sending and recording comes back marked unclear, under the same key.
Whatever a sink does, its worker continues.
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
from cmc_notify.core.retry import decide, expired_result
from cmc_notify.dispatcher.attempt import OUTCOME_LABELS, Attempts
from cmc_notify.dispatcher.outage import StoreOutage
from cmc_notify.dispatcher.recorder import STORE_RETRY_AFTER, Recorder, log_result
from cmc_notify.dispatcher.sink_flow import SinkFlow
from cmc_notify.dispatcher.sink_policy import SinkPolicy, fallback_delivery, fallback_needs_end
from cmc_notify.dispatcher.sink_watch import SinkWatch
from cmc_notify.errors import StoreError
from cmc_notify.ports import Claim, Clock, Delivery, Outbox, Sink
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

TIMEOUT_MARGIN = 5.0
"""Seconds beyond its time-out that a sink gets to return before it is cancelled."""

LEASE_MARGIN = 15.0
"""Seconds by which a lease exceeds the longest send: time to record the outcome."""

IDLE_CHECK_EVERY = 5.0
"""Seconds after which an idle worker checks for due deliveries.

The command line runs in another process: a delivery that an operator makes due there wakes no worker here.
"""

_EXPIRED_BATCH = 50


class _Claimed(NamedTuple):
    """A delivery that this process has, from its claim until its result is written."""

    key: str
    task: asyncio.Task[None] | None
    """The task that sends it; None if it is given up unsent."""


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
        sign_link: Callable[[Event, Delivery], str | None],
        on_fallback: Callable[[], None],
        watch: SinkWatch | None,
    ) -> None:
        """``on_fallback`` is called after the fallback sink may have got a delivery.

        ``watch`` gets the outcome of each attempt.
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
        # The earliest deadline, read again once it has passed: deliveries that come later have later ones.
        self._deadline: float | None = None
        self._outage = StoreOutage(sink.name)
        self.in_flight: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()
        self.stopping = False

    @property
    def blocked(self) -> str | None:
        """The reason if an operator must act, else None."""
        return self._flow.blocked

    @property
    def circuit_open(self) -> str | None:
        """The reason if the circuit is open or half-open, else None."""
        return self._flow.circuit_open

    @property
    def throttled(self) -> str | None:
        """The reason if the receiver asked for a pause, else None."""
        return self._flow.throttled

    async def run(self) -> None:
        """Claim and send until ``stopping`` is set; after any error, try again."""
        while not self.stopping:
            self.wake.clear()
            more = False
            try:
                more = await self._claim()
                wait = None if more else await self._seconds_to_next()
                if self._outage.ongoing:
                    # There may have been no call of the store yet.
                    await self._outbox.next_due(self._name)
                    self._outage.note_recovery()
            except StoreError as error:
                self._outage.note_failure(error)
                wait = STORE_RETRY_AFTER
            except Exception:  # noqa: BLE001  logged; without a worker a sink would lose every alert
                _log.exception("dispatcher.bug", sink=self._name)
                wait = STORE_RETRY_AFTER
            if not more and not self.stopping:
                await self._sleep(wait)

    async def keep_leases(self) -> None:
        """Renew the leases of deliveries in flight, until cancelled."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await self._renew()
            except StoreError as error:
                self._outage.note_failure(error)
            except Exception:  # noqa: BLE001  logged; leases that are not renewed would cause repeats
                _log.exception("dispatcher.bug", sink=self._name)

    async def _renew(self) -> None:
        """Renew the leases, and cancel a send whose delivery another replica has taken over."""
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
        """Claim as many deliveries as may start now, and send them; False if no more are due."""
        if self._recorder.has_unrecorded:
            return False
        limit = self._flow.capacity(len(self.in_flight))
        if limit <= 0:
            return await self._expire()
        claims = await self._outbox.claim(
            self._name,
            owner=self._owner,
            limit=limit,
            lease=self._lease,
            # While one message at a time is tried, it must not always be one that is never accepted.
            in_turn=self._flow.control.state is not FlowState.NORMAL,
        )
        new = self._not_claimed_here(claims)
        # During the claim, an outcome may have come that reduces the capacity, or the stop.
        capacity = 0 if self.stopping else self._flow.capacity(len(self.in_flight))
        for claim in new[:capacity]:
            self._start_sending(claim)
        await self._recorder.give_back(new[capacity:])
        return len(claims) >= limit

    def _not_claimed_here(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claims of deliveries that this process does not have yet.

        If our own lease has expired, we have the delivery already: only its result must be recorded. With
        another key an operator wants it sent again, whatever the result of the present attempt.
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
                _log.error("delivery.bug", sink=self._name, error=repr(error))

        task.add_done_callback(on_done)

    def _forget(self, delivery_id: str) -> None:
        self._claimed.pop(delivery_id, None)
        self._sending.discard(delivery_id)

    async def _expire(self) -> bool:
        """Give up deliveries that reach their deadlines while nothing can be sent; True if there were any."""
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
        result = expired_result(
            self._flow.control.reason, unclear=claim.delivery.unclear, fallback=self._fallback_delivery(claim)
        )
        await self._record(claim, result)
        if self._watch:
            await self._watch.record_attempt(claim.event, Rejected(result.error or ""))

    async def _seconds_to_next(self) -> float | None:
        """Return the seconds until a delivery can be claimed; None to wait for ``wake``."""
        now, control = self._clock(), self._flow.control
        if self._recorder.has_unrecorded:
            return None
        if control.capacity(now, len(self.in_flight)) > 0:
            due = await self._outbox.next_due(self._name)
            return IDLE_CHECK_EVERY if due is None else min(max(due - self._clock(), 0.01), IDLE_CHECK_EVERY)
        waits = [control.next_start_at - now] if control.waits(now) else []
        if control.deadlines_apply(now) and self._deadline is not None:
            # A delivery whose deadline has passed and that can't be claimed is leased, or behind another.
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
        result = decide(
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
        await self._record(claim, result)
        self._forget(delivery.id)
        if isinstance(outcome, Blocked):
            await self._renew_deadlines()
        if self._watch:
            await self._watch.record_attempt(claim.event, outcome)

    async def _record(self, claim: Claim, result: AttemptResult) -> None:
        log_result(result, claim.delivery, fallback=self._policy.fallback)
        await self._recorder.record(claim.delivery, result)
        if result.fallback:
            self._on_fallback()

    def _fallback_delivery(self, claim: Claim) -> NewDelivery | None:
        return fallback_delivery(claim, self._policy, self._fallback_policy, now=self._clock())

    async def _renew_deadlines(self) -> None:
        """Renew the deadlines of a blocked sink, so that its queue does not become dead letters later."""
        try:
            await self._outbox.renew_deadlines(self._name)
        except StoreError as error:
            # The next probe tries again.
            self._outage.note_failure(error)
