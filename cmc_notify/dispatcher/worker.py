"""Serves one sink: claim with a lease, send, then record.

What a crash leaves between sending and recording comes back marked unclear, under the same key. Whatever a
sink does, its worker goes on.
"""

import asyncio
import random
from collections.abc import Callable
from time import perf_counter

import structlog
from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.core.delivery import DeliveryState, NewDelivery, Verdict
from cmc_notify.core.events import Event, rfc3339
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy, decide
from cmc_notify.dispatcher.health import SinkWatch
from cmc_notify.errors import StoreError
from cmc_notify.ports import Claim, Clock, Delivery, Message, Outbox, Sink
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

STORE_PAUSE = 1.0
"""Seconds to wait before the store is asked again after it failed."""

_OUTCOMES = {Sent: "sent", RetryLater: "retry", Unclear: "unclear", Rejected: "rejected", Blocked: "blocked"}


class SinkPlan(Struct, frozen=True, kw_only=True):
    """How a sink is served. ``timeout`` is that of one attempt, in seconds."""

    timeout: float
    concurrency: int
    retry: RetryPolicy
    fallback: str | None = None


class Worker:
    """Serves one sink. ``blocked`` is why it waits for an operator, or None."""

    def __init__(
        self,
        sink: Sink,
        plan: SinkPlan,
        outbox: Outbox,
        *,
        fallback_plan: SinkPlan | None,
        owner: str,
        clock: Clock,
        metrics: Metrics,
        sign_link: Callable[[Event], str | None],
        handed_over: Callable[[], None],
        watch: SinkWatch | None,
    ) -> None:
        """``handed_over`` is called when a dead delivery was given to the fallback sink; ``watch`` is told
        what each attempt came to.
        """
        self._sink = sink
        self._plan = plan
        self._outbox = outbox
        self._fallback_plan = fallback_plan
        self._owner = owner
        self._clock = clock
        self._metrics = metrics
        self._sign_link = sign_link
        self._handed_over = handed_over
        self._watch = watch
        self.wake = asyncio.Event()
        self.in_flight: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.blocked: str | None = None
        self._probe_at = 0.0
        metrics.sink_blocked.labels(sink.name).set(0)

    async def run(self) -> None:
        """Claim and send until told to stop; whatever fails is tried again."""
        while not self.stopping:
            self.wake.clear()
            claimed = False
            try:
                claimed = await self._claim()
                wait = None if claimed else await self._time_to_next()
            except StoreError as error:
                _log.error("outbox.unavailable", sink=self._sink.name, error=str(error))
                wait = STORE_PAUSE
            except Exception:  # noqa: BLE001  logged; a sink that nobody serves would lose every alert
                _log.exception("dispatcher.bug", sink=self._sink.name)
                wait = STORE_PAUSE
            if not claimed and not self.stopping:
                await self._sleep(wait)

    async def _claim(self) -> bool:
        """Claim what there is room for and send it; False where there was nothing to do."""
        room = self._plan.concurrency - len(self.in_flight)
        if self.blocked is not None:
            # Whether the cause is gone shows in one delivery; the rest of the queue is held.
            room = 1 if not self.in_flight and self._clock() >= self._probe_at else 0
        if room <= 0:
            return False
        claims = await self._outbox.claim(
            self._sink.name,
            owner=self._owner,
            limit=room,
            lease=self._plan.timeout + LINGER + LEASE_SLACK,
        )
        for claim in claims:
            task = asyncio.create_task(self._deliver(claim), name=f"send:{claim.delivery.id}")
            self.in_flight.add(task)
            task.add_done_callback(self._landed)
        return bool(claims)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self.in_flight.discard(task)
        self.wake.set()
        if not task.cancelled() and (error := task.exception()):
            _log.error("delivery.lost_track", sink=self._sink.name, error=repr(error))

    async def _time_to_next(self) -> float | None:
        """Seconds until something can be claimed; None to wait for a call."""
        busy = len(self.in_flight)
        if busy >= self._plan.concurrency or (busy and self.blocked is not None):
            return None
        if self.blocked is not None and (wait := self._probe_at - self._clock()) > 0:
            return wait
        due = await self._outbox.next_due(self._sink.name)
        return LOOK_AGAIN if due is None else min(max(due - self._clock(), 0.01), LOOK_AGAIN)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            pass

    async def _deliver(self, claim: Claim) -> None:
        delivery = claim.delivery
        reached(Boundary.DELIVERY_CLAIMED)
        started = perf_counter()
        outcome = await self._attempt(claim)
        reached(Boundary.DELIVERY_ANSWERED)
        self._metrics.delivery_seconds.labels(self._sink.name).observe(perf_counter() - started)
        self._metrics.deliveries_total.labels(self._sink.name, _OUTCOMES[type(outcome)]).inc()
        verdict = decide(
            outcome,
            attempts=delivery.attempts + 1,
            now=self._clock(),
            deadline_at=delivery.deadline_at,
            policy=self._plan.retry,
            chance=random.random(),  # noqa: S311  spreads retries, guards nothing
            fallback=self._fallback(claim),
            unclear=delivery.unclear,
        )
        self._hold_or_release(outcome)
        self._log_verdict(verdict, delivery)
        await self._record(delivery, verdict)
        if isinstance(outcome, Blocked):
            await self._stop_ageing()
        if verdict.fallback:
            self._handed_over()
        if self._watch:
            await self._watch.attempted(claim.event, outcome)

    async def _attempt(self, claim: Claim) -> SendOutcome:
        """One send, whatever a sink does: bounded in time, and an exception is an outcome too."""
        delivery = claim.delivery

        async def record(part: str, receipt: str) -> None:
            reached(Boundary.DELIVERY_PART_ACCEPTED)
            await self._outbox.record_part(delivery.id, part, receipt)
            reached(Boundary.DELIVERY_PART_RECORDED)

        try:
            async with asyncio.timeout(self._plan.timeout + LINGER):
                outcome = await self._sink.send(self._message(claim), record)
        except TimeoutError:
            return Unclear(f"no answer within {self._plan.timeout:g} s")
        except StoreError as error:
            return Unclear(f"the store failed while sending: {error}")
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return self._bug(delivery, error)  # not ours: something inside the sink was cancelled
        except Exception as error:  # noqa: BLE001  a third-party sink must not stop the others
            return self._bug(delivery, error)
        if type(outcome) not in _OUTCOMES:  # a third party's sink may have no type checker
            return self._bug(delivery, TypeError(f"no outcome but {type(outcome).__name__}"))
        return outcome

    def _bug(self, delivery: Delivery, error: BaseException) -> Unclear:
        _log.error("sink.bug", sink=self._sink.name, delivery=delivery.id, exc_info=error)
        return Unclear(f"the sink failed: {type(error).__name__}")

    def _message(self, claim: Claim) -> Message:
        event, delivery = claim.event, claim.delivery
        if delivery.shown is not None and event.recoveries:
            event = replace(event, recoveries=tuple(event.recoveries[i] for i in delivery.shown))
        elif delivery.shown is not None:
            event = replace(
                event,
                failures=tuple(event.failures[i] for i in delivery.shown),
                failures_outside_route=len(event.failures) - len(delivery.shown),
            )
        return Message(
            key=delivery.key,
            event=replace(event, url=self._sign_link(event)),
            subject=delivery.subject,
            attempt=delivery.attempts + 1,
            unclear=delivery.unclear,
            parts=delivery.parts,
        )

    def _fallback(self, claim: Claim) -> NewDelivery | None:
        name, plan, delivery = self._plan.fallback, self._fallback_plan, claim.delivery
        if name is None or plan is None or name == claim.event.sink:  # a sink hears nothing of itself
            return None
        now = self._clock()
        return NewDelivery(
            id=f"{delivery.event_id}-{name}-for-{self._sink.name}",
            event_id=delivery.event_id,
            sink=name,
            subject=delivery.subject,
            ordering_key=delivery.ordering_key,
            shown=delivery.shown,
            due_at=now,
            deadline_at=now + plan.retry.deadline,
        )

    def _hold_or_release(self, outcome: SendOutcome) -> None:
        """Blocked holds the queue. Whoever judges a message, well or ill, takes messages again."""
        name = self._sink.name
        if isinstance(outcome, Blocked):
            if self.blocked is None:
                _log.error("sink.blocked", sink=name, reason=outcome.reason)
            self.blocked = outcome.reason
        elif self.blocked is not None and isinstance(outcome, Sent | Rejected):
            _log.info("sink.unblocked", sink=name)
            self.blocked = None
        self._probe_at = self._clock() + self._plan.retry.probe
        self._metrics.sink_blocked.labels(name).set(float(self.blocked is not None))

    async def _stop_ageing(self) -> None:
        """A held queue must not be a queue of dead letters at its first trouble after the release."""
        try:
            await self._outbox.renew_deadlines(self._sink.name)
        except StoreError as error:
            # The next probe does it again.
            _log.error("outbox.unavailable", sink=self._sink.name, error=str(error))

    def _log_verdict(self, verdict: Verdict, delivery: Delivery) -> None:
        fields = {"sink": self._sink.name, "delivery": delivery.id, "attempt": delivery.attempts + 1}
        match verdict.state:
            case DeliveryState.SENT:
                _log.info("delivery.sent", **fields, receipt=verdict.receipt)
            case DeliveryState.DEAD:
                _log.error("delivery.dead", **fields, reason=verdict.error, fallback=self._plan.fallback)
            case _:
                _log.warning("delivery.retry", **fields, reason=verdict.error, due_at=rfc3339(verdict.due_at))

    async def _record(self, delivery: Delivery, verdict: Verdict) -> None:
        """Write the verdict down. While the store refuses, try for as long as the lease can last: after it
        the delivery comes back by itself, unclear and under the same key.
        """
        for _ in range(int(LEASE_SLACK / STORE_PAUSE)):
            try:
                if not await self._outbox.record(delivery.id, owner=self._owner, verdict=verdict):
                    _log.warning("delivery.lease_lost", sink=self._sink.name, delivery=delivery.id)
            except StoreError as error:
                _log.error("delivery.not_recorded", delivery=delivery.id, error=str(error))
                await asyncio.sleep(STORE_PAUSE)
            else:
                return
