"""Sends what is due: at least once, under a key that stays the same across retries, crashes and replicas.

Each sink has a worker of its own, so that a dead or slow receiver costs the others nothing. A delivery is
claimed with a lease, sent, and then recorded; what a crash leaves between the two comes back marked
unclear, under the same key.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from time import perf_counter

import structlog
from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.delivery import DeliveryState, NewDelivery, Verdict
from cmc_notify.core.events import Event
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy, decide
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
    """How a sink is served."""

    timeout: float
    concurrency: int
    retry: RetryPolicy
    fallback: str | None = None


class Dispatcher:
    """Serves every sink until it is stopped."""

    def __init__(
        self,
        outbox: Outbox,
        sinks: Mapping[str, Sink],
        plans: Mapping[str, SinkPlan],
        *,
        owner: str,
        clock: Clock,
        metrics: Metrics,
        sign_link: Callable[[Event], str | None] = lambda _event: None,
    ) -> None:
        """``owner`` names this process in leases; ``sign_link`` gives the address of an event's page."""
        self._workers = {
            name: _Worker(
                sink,
                plans[name],
                outbox,
                fallback_plan=plans[fallback] if (fallback := plans[name].fallback) else None,
                owner=owner,
                clock=clock,
                metrics=metrics,
                sign_link=sign_link,
            )
            for name, sink in sinks.items()
        }
        for worker in self._workers.values():
            worker.handed_over = self.wake
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def blocked(self) -> dict[str, str]:
        """The sinks that wait for an operator, each with the reason."""
        return {name: reason for name, worker in self._workers.items() if (reason := worker.blocked)}

    def start(self) -> None:
        """Begin to send."""
        self._tasks = [
            asyncio.create_task(worker.run(), name=f"deliver:{name}")
            for name, worker in self._workers.items()
        ]

    def wake(self) -> None:
        """Look for due deliveries now: something was committed."""
        for worker in self._workers.values():
            worker.wake.set()

    async def stop(self, grace: float) -> None:
        """Claim nothing more, let what is in flight finish for up to ``grace`` seconds, leave the rest."""
        for worker in self._workers.values():
            worker.stopping = True
        self.wake()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        in_flight = [task for worker in self._workers.values() for task in worker.in_flight]
        if not in_flight:
            return
        _log.info("dispatcher.finishing", in_flight=len(in_flight))
        _done, late = await asyncio.wait(in_flight, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*in_flight, return_exceptions=True)
        if late:
            _log.warning("dispatcher.cut_short", sends=len(late))


class _Worker:
    """Serves one sink."""

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
    ) -> None:
        self._sink = sink
        self._plan = plan
        self._outbox = outbox
        self._fallback_plan = fallback_plan
        self._owner = owner
        self._clock = clock
        self._metrics = metrics
        self._sign_link = sign_link
        self.handed_over: Callable[[], None] = lambda: None
        self.wake = asyncio.Event()
        self.in_flight: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.blocked: str | None = None
        self._blocked_until = 0.0

    async def run(self) -> None:
        """Claim and send until told to stop; a store that fails is asked again."""
        while not self.stopping:
            self.wake.clear()
            try:
                claimed = await self._claim()
                wait = None if claimed else await self._time_to_next()
            except StoreError as error:
                _log.error("outbox.unavailable", sink=self._sink.name, error=str(error))
                wait = STORE_PAUSE
                claimed = False
            if not claimed and not self.stopping:
                await self._sleep(wait)

    async def _claim(self) -> bool:
        """Claim what there is room for and send it; False where there was nothing to do."""
        room = self._plan.concurrency - len(self.in_flight)
        if self.blocked is not None:
            # Whether the cause is gone shows in one delivery; the rest of the queue is held.
            room = 1 if not self.in_flight and self._clock() >= self._blocked_until else 0
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
        if self.blocked is not None and not self.in_flight:
            return max(self._blocked_until - self._clock(), 0.0)
        if len(self.in_flight) >= self._plan.concurrency or self.blocked is not None:
            return None
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
        started = perf_counter()
        outcome = await self._attempt(claim)
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
        self._note(outcome, verdict, delivery)
        await self._record(delivery, verdict)
        if verdict.fallback:
            self.handed_over()

    async def _attempt(self, claim: Claim) -> SendOutcome:
        """One send, whatever a sink does: bounded in time, and an exception is an outcome too."""
        delivery = claim.delivery

        async def record(part: str, receipt: str) -> None:
            await self._outbox.record_part(delivery.id, part, receipt)

        try:
            async with asyncio.timeout(self._plan.timeout + LINGER):
                return await self._sink.send(self._message(claim), record)
        except TimeoutError:
            return Unclear(f"no answer within {self._plan.timeout:g} s")
        except StoreError as error:
            return Unclear(f"the store failed while sending: {error}")
        except Exception as error:  # noqa: BLE001  a third-party sink must not stop the others
            _log.exception("sink.bug", sink=self._sink.name, delivery=delivery.id)
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
        if name is None or plan is None:
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

    def _note(self, outcome: SendOutcome, verdict: Verdict, delivery: Delivery) -> None:
        name = self._sink.name
        if isinstance(outcome, Blocked):
            if self.blocked is None:
                _log.error("sink.blocked", sink=name, reason=outcome.reason)
            self.blocked = outcome.reason
            self._blocked_until = verdict.due_at or 0.0
        elif self.blocked is not None and isinstance(outcome, Sent):
            _log.info("sink.unblocked", sink=name)
            self.blocked = None
        self._metrics.sink_blocked.labels(name).set(float(self.blocked is not None))
        fields = {"sink": name, "delivery": delivery.id, "attempt": delivery.attempts + 1}
        match verdict.state:
            case DeliveryState.SENT:
                _log.info("delivery.sent", **fields, receipt=verdict.receipt)
            case DeliveryState.DEAD:
                _log.error("delivery.dead", **fields, reason=verdict.error, fallback=self._plan.fallback)
            case _:
                _log.warning("delivery.retry", **fields, reason=verdict.error, due_at=verdict.due_at)

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
