"""A dispatcher that watches its sinks, over a real store, under a clock moved by hand."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, SendOutcome, Sent
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.routing import Route
from cmc_notify.core.samples import sample
from cmc_notify.dispatcher import Dispatcher, SinkEventRules, SinkPolicy
from cmc_notify.dispatcher.sink_watch import SinkWatch
from cmc_notify.ports import ControllerMeta, Message, PartRecorder, PollCommit
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics

START = 1_795_425_600.0
REFUSED = Blocked("401 Unauthorized")
SENT = Sent()
SINKS = ("mail", "chat")


class Answering:
    """A sink that answers with ``script`` first, then with ``otherwise``."""

    def __init__(self, name: str, *script: SendOutcome) -> None:
        self.name = name
        self.script = deque(script)
        self.otherwise: SendOutcome = SENT
        self.got: list[Message] = []

    async def send(self, message: Message, _record: PartRecorder) -> SendOutcome:
        """Note the message."""
        self.got.append(message)
        return self.script.popleft() if self.script else self.otherwise

    async def probe(self) -> SendOutcome:
        """Not called."""
        raise AssertionError

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def sink_events(self) -> list[tuple[str, str | None, str | None]]:
        """Type, reason and since of the events about sinks that it was sent."""
        events = [message.event for message in self.got if message.event.sink]
        return [(event.type.value, event.reason, event.since) for event in events]


class SinkWatchHarness:
    """A store, a clock that moves by hand, and the sinks ``mail`` (fails) and ``chat`` (is notified)."""

    def __init__(self, store: Store, now: list[float]) -> None:
        self.store = store
        self.now = now
        self.mail = Answering("mail")
        self.chat = Answering("chat")
        self.dispatcher: Dispatcher | None = None
        self._number = 0

    @asynccontextmanager
    async def running(
        self,
        *,
        owner: str = "here",
        routes: tuple[Route, ...] = (Route(sinks=SINKS),),
        announcements: Any = None,
        fallback: str | None = None,
    ) -> AsyncIterator[Dispatcher]:
        """The dispatcher at work; ``fallback`` is that of ``chat``."""
        plan = SinkPolicy(timeout=1, concurrency=1, retry=RetryPolicy(initial=5, max=5, probe=5))
        dispatcher = Dispatcher(
            self.store.outbox,
            {"mail": self.mail, "chat": self.chat},
            {"mail": plan, "chat": replace(plan, fallback=fallback)},
            owner=owner,
            clock=lambda: self.now[0],
            metrics=Metrics(),
            sink_events=SinkEventRules(
                store=announcements or self.store.sink_events,
                routes=routes,
                sinks=dict.fromkeys(SINKS, SinkProfile(deadline=3600)),
            ),
        )
        self.dispatcher = dispatcher
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            await dispatcher.stop(1)

    def watch(self, announcements: Any = None) -> SinkWatch:
        """Return the watch of one process on ``mail``."""
        rules = SinkEventRules(
            store=announcements or self.store.sink_events,
            routes=(Route(sinks=SINKS),),
            sinks=dict.fromkeys(SINKS, SinkProfile()),
        )
        return SinkWatch("mail", rules, clock=lambda: self.now[0], on_committed=lambda: None)

    async def tell(self, dispatcher: Dispatcher, sink: str = "mail") -> str:
        """Commit a job's event for a sink; returns the delivery's id."""
        self._number += 1
        told = replace(sample(EventType.JOB_FAILED), id=f"e{self._number:04}")
        delivery = NewDelivery(
            id=f"{told.id}-{sink}",
            event_id=told.id,
            sink=sink,
            subject=told.id,
            ordering_key=told.id,
            due_at=self.now[0],
            deadline_at=self.now[0] + 3600,
        )
        version = (await self.store.poll.load_snapshot("emea")).version
        await self.store.poll.commit_poll(
            PollCommit(
                controller="emea",
                expected_version=version,
                meta=ControllerMeta(),
                events=(told,),
                deliveries=(delivery,),
            )
        )
        dispatcher.wake()
        return delivery.id

    async def attempts(self, sink: Answering, count: int) -> None:
        """Wait until a sink had so many attempts, and their results are written and announced."""
        async with asyncio.timeout(10):
            while len(sink.got) < count or self._busy:  # noqa: ASYNC110  the dispatcher sets no event
                await asyncio.sleep(0.005)

    @property
    def _busy(self) -> bool:
        assert self.dispatcher
        return any(worker.in_flight for worker in self.dispatcher._workers.values())

    async def events(self) -> list[str]:
        """Return the types of the events about sinks, the newest first."""
        return [event.type.value for event in await self.store.ledger.events() if event.sink]

    async def until(self, count: int) -> list[str]:
        """Wait until there are so many events about sinks."""
        async with asyncio.timeout(10):
            while len(told := await self.events()) < count:  # noqa: ASYNC110  the store sets no event
                await asyncio.sleep(0.005)
        return told

    def later(self, dispatcher: Dispatcher, seconds: float) -> None:
        """Time passes."""
        self.now[0] += seconds
        dispatcher.wake()
