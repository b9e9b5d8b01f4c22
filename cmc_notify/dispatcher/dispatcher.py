"""Send due deliveries: at least once, under a key that stays the same across retries, crashes and replicas.

Each sink has its own worker, so that a dead or slow receiver does not affect the others.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from cmc_notify.core.events import Event
from cmc_notify.dispatcher.sink_policy import SinkPolicy
from cmc_notify.dispatcher.sink_watch import SinkEventRules, SinkWatch
from cmc_notify.dispatcher.worker import Worker
from cmc_notify.ports import Clock, Delivery, Outbox, Sink
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

CANCEL_GRACE = 1.0
"""Seconds that a cancelled task gets to end; a sink that ignores its cancellation delays nothing."""


class Dispatcher:
    """Serves every sink until it is stopped."""

    def __init__(
        self,
        outbox: Outbox,
        sinks: Mapping[str, Sink],
        policies: Mapping[str, SinkPolicy],
        *,
        owner: str,
        clock: Clock,
        metrics: Metrics,
        sign_link: Callable[[Event, Delivery], str | None] = lambda _event, _delivery: None,
        sink_events: SinkEventRules | None = None,
    ) -> None:
        """``owner`` names this process in leases; ``sign_link`` returns the address of an event's page.

        With ``sink_events``, the other sinks are notified of one that fails.
        """
        self._workers = {
            name: Worker(
                sink,
                policies[name],
                outbox,
                fallback_policy=policies[fallback] if (fallback := policies[name].fallback) else None,
                owner=owner,
                clock=clock,
                metrics=metrics,
                sign_link=sign_link,
                on_fallback=self.wake,
                watch=SinkWatch(name, sink_events, clock=clock, on_committed=self.wake)
                if sink_events
                else None,
            )
            for name, sink in sinks.items()
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._leases: list[asyncio.Task[None]] = []

    @property
    def blocked(self) -> dict[str, str]:
        """The blocked sinks, each with the reason: an operator must act."""
        return {name: reason for name, worker in self._workers.items() if (reason := worker.blocked)}

    @property
    def circuit_open(self) -> dict[str, str]:
        """The sinks with an open or half-open circuit, each with the reason."""
        return {name: reason for name, worker in self._workers.items() if (reason := worker.circuit_open)}

    @property
    def throttled(self) -> dict[str, str]:
        """The sinks whose receiver asked for a pause (Retry-After), each with the reason."""
        return {name: reason for name, worker in self._workers.items() if (reason := worker.throttled)}

    def start(self) -> None:
        """Start sending."""
        self._tasks = [
            asyncio.create_task(worker.run(), name=f"deliver:{name}")
            for name, worker in self._workers.items()
        ]
        self._leases = [
            asyncio.create_task(worker.keep_leases(), name=f"leases:{name}")
            for name, worker in self._workers.items()
        ]

    def wake(self) -> None:
        """Look for due deliveries now: something was on_committed."""
        for worker in self._workers.values():
            worker.wake.set()

    async def stop(self, grace: float) -> None:
        """Claim nothing more, let attempts in flight finish for up to ``grace`` seconds, leave the rest.

        A delivery whose attempt is cancelled stays leased, and comes back under the same key, marked
        unclear. A delivery that was claimed and not yet sent is given back.
        """
        for worker in self._workers.values():
            worker.stopping = True
        self.wake()
        loop = asyncio.get_running_loop()
        ends = loop.time() + grace
        await _wait_then_cancel(
            self._tasks, max(grace, CANCEL_GRACE)
        )  # a claim that is cancelled would leave its leases
        in_flight = [task for worker in self._workers.values() for task in worker.in_flight]
        if in_flight:
            _log.info("dispatcher.finishing", in_flight=len(in_flight))
        if late := await _wait_then_cancel(in_flight, max(ends - loop.time(), 0.0)):
            _log.warning("dispatcher.cut_short", sends=late)
        await _wait_then_cancel(self._leases, 0)


async def _wait_then_cancel(tasks: Collection[asyncio.Task[None]], within: float) -> int:
    """Wait for the tasks, then cancel those that still run; returns their number."""
    if not tasks:
        return 0
    _done, late = await asyncio.wait(tasks, timeout=within)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=CANCEL_GRACE)
    return len(late)
