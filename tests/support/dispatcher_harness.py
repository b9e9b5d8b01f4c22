"""A dispatcher over a real SQLite store, under a clock moved by hand, with sinks that answer as scripted."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import SendOutcome, Sent
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.samples import sample
from cmc_notify.dispatcher import Dispatcher, SinkPolicy, dispatcher, recorder, worker
from cmc_notify.errors import StoreUnavailable
from cmc_notify.ports import ControllerMeta, Delivery, Message, PartRecorder, PollCommit
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics
from support.new_store import new_store

START = 1_795_425_600.0
HOUR = 3600.0
SENT = Sent("r")
Act = Callable[[Message, PartRecorder], Awaitable[SendOutcome]]


class Clock:
    """Wall-clock time that moves by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """What it shows."""
        return self.now


class Scripted:
    """A sink that does what ``script`` says next, and then ``otherwise``."""

    def __init__(self, name: str, *script: SendOutcome | Act, otherwise: SendOutcome | Act = SENT) -> None:
        self.name = name
        self.script = deque(script)
        self.otherwise = otherwise
        self.got: list[Message] = []
        self.now = 0
        self.most = 0
        self.changed = asyncio.Condition()

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Note the message, then act."""
        self.now += 1
        self.most = max(self.most, self.now)
        async with self.changed:
            self.got.append(message)
            self.changed.notify_all()
        act = self.script.popleft() if self.script else self.otherwise
        try:
            return await act(message, record) if callable(act) else act
        finally:
            self.now -= 1

    async def attempts(self, count: int) -> None:
        """Wait until ``count`` sends were begun."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.got) >= count)

    async def probe(self) -> SendOutcome:
        """Nobody asks."""
        raise AssertionError

    async def close(self) -> None:
        """Nothing is open."""


class Faulty:
    """The store's outbox; each of the first ``failures`` calls of a method named in ``broken`` fails."""

    def __init__(self, outbox: Any, broken: str, failures: int) -> None:
        self._outbox = outbox
        self._broken = broken
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        if name == self._broken and self.failures:
            self.failures -= 1
            return self._fail
        return getattr(self._outbox, name)

    async def _fail(self, *_: object, **__: object) -> None:
        raise StoreUnavailable("disk full")


class DispatcherHarness:
    """A store, sinks and a dispatcher over them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.metrics = Metrics()
        self._version = 0
        self._number = 0
        self.dispatcher: Dispatcher | None = None

    async def tell(self, *sinks: str, event: EventType = EventType.JOB_FAILED, **given: Any) -> str:
        """Commit one event with a delivery for each of ``sinks``; returns the event's id."""
        self._number += 1
        told = replace(sample(event), id=f"e{self._number:04}")
        deliveries = tuple(
            replace(
                NewDelivery(
                    id=f"{told.id}-{sink}",
                    event_id=told.id,
                    sink=sink,
                    subject=told.id,
                    ordering_key=told.id,
                    due_at=self.clock(),
                    deadline_at=self.clock() + HOUR,
                ),
                **given,
            )
            for sink in sinks
        )
        commit = PollCommit(
            controller="emea",
            expected_version=self._version,
            meta=ControllerMeta(),
            events=(told,),
            deliveries=deliveries,
        )
        self._version = await self.store.poll.commit_poll(commit)
        return told.id

    @asynccontextmanager
    async def running(
        self, *sinks: Scripted, outbox: Any = None, sign: Any = lambda _event, _delivery: None, **plan: Any
    ) -> AsyncIterator[Dispatcher]:
        """The dispatcher at work. ``plan`` holds for each sink; ``fallback`` only for the first."""
        fallback = plan.pop("fallback", None)
        common: dict[str, Any] = {
            "timeout": 0.2,
            "concurrency": 4,
            "retry": RetryPolicy(initial=5, max=60, probe=30),
        }
        plans = {sink.name: SinkPolicy(**common | plan) for sink in sinks}
        plans[sinks[0].name] = replace(plans[sinks[0].name], fallback=fallback)
        self.dispatcher = Dispatcher(
            outbox or self.store.outbox,
            {sink.name: sink for sink in sinks},
            plans,
            owner="here",
            clock=self.clock,
            metrics=self.metrics,
            sign_link=sign,
        )
        self.dispatcher.start()
        try:
            yield self.dispatcher
        finally:
            await self.dispatcher.stop(0.5)

    async def delivery(self, delivery_id: str) -> Delivery:
        """One row as it is now."""
        row = await self.store.ledger.delivery(delivery_id)
        assert row
        return row.delivery

    async def until(self, delivery_id: str, holds: Callable[[Delivery], bool]) -> Delivery:
        """Look until a row is as it should be: the store tells nobody of changes."""
        async with asyncio.timeout(10):
            while not holds(row := await self.delivery(delivery_id)):  # noqa: ASYNC110  the store sets no event
                await asyncio.sleep(0.005)
        return row

    def count(self, sink: str, outcome: str) -> float:
        """The metric of attempts."""
        return float(self.metrics.deliveries_total.labels(sink, outcome)._value.get())

    def later(self, seconds: float) -> None:
        """Time passes, and the workers look at once."""
        self.clock.now += seconds
        assert self.dispatcher
        self.dispatcher.wake()


async def hang(_message: Message, _record: PartRecorder) -> SendOutcome:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def empty_harness(folder: Path) -> AsyncIterator[DispatcherHarness]:
    """Nothing is told yet."""
    clock = Clock()
    store = await new_store(folder / "store.db", clock=clock)
    yield DispatcherHarness(store, clock)
    await store.close()


def make_brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a test would spend for nothing are short."""
    for module in (worker, recorder):
        monkeypatch.setattr(module, "STORE_RETRY_AFTER", 0.01)
    monkeypatch.setattr(worker, "LEASE_MARGIN", 1.0)
    monkeypatch.setattr(worker, "IDLE_CHECK_EVERY", 60.0)
    monkeypatch.setattr(worker, "TIMEOUT_MARGIN", 0.05)
    monkeypatch.setattr(dispatcher, "CANCEL_GRACE", 0.2)
