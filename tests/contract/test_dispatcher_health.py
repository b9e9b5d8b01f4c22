"""The events about sinks, with a real SQLite store and sinks that follow a script."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cmc_notify.core.delivery import DeliveryState, NewDelivery
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.routing import Route
from cmc_notify.core.samples import sample
from cmc_notify.core.sink_health import SinkEvent
from cmc_notify.dispatcher import Dispatcher, SinkEventRules, SinkPolicy, worker
from cmc_notify.dispatcher.sink_watch import SinkWatch
from cmc_notify.errors import StoreUnavailable
from cmc_notify.ports import ControllerMeta, DeliveryFilter, Message, PartRecorder, PollCommit
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics
from support.new_store import new_store

START = 1_795_425_600.0
REFUSED = Blocked("401 Unauthorized")
BUSY = RetryLater("503", after=1)
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


class Refusing:
    """The store's sink events; the first ``failures`` writes fail."""

    def __init__(self, announcements: Any, failures: int) -> None:
        self._sink_events = announcements
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink_events, name)

    async def commit(self, sink_event: SinkEvent) -> bool:
        """Fail, then work."""
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("disk full")
        done: bool = await self._sink_events.commit(sink_event)
        return done


class DispatcherHarness:
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


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[DispatcherHarness]:
    """An empty harness."""
    now = [START]
    store = await new_store(tmp_path / "store.db", clock=lambda: now[0])
    yield DispatcherHarness(store, now)
    await store.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker checks on its own: a commit must wake it."""
    monkeypatch.setattr(worker, "IDLE_CHECK_EVERY", 60.0)


async def test_a_blocked_sink_is_announced_once_and_so_is_its_recovery(harness: DispatcherHarness) -> None:
    """At once, with reason and since, to the other sinks only; again at the next accepted message."""
    harness.mail.script.extend([REFUSED, REFUSED, REFUSED])
    async with harness.running() as dispatcher:
        await harness.tell(dispatcher)
        await harness.attempts(harness.chat, 1)
        since = "2026-11-23T09:20:00Z"
        assert harness.chat.sink_events == [("sink.failing", "Blocked: 401 Unauthorized", since)]
        for attempt in (2, 3, 4):
            harness.later(dispatcher, 6)
            await harness.attempts(harness.mail, attempt)
        await harness.attempts(harness.chat, 2)
    assert harness.chat.sink_events[1:] == [("sink.recovered", None, since)]
    assert harness.mail.sink_events == []


async def test_failures_in_a_row_must_last(harness: DispatcherHarness) -> None:
    """Three within a few seconds are no event; the one after half a minute is. A success resets."""
    harness.mail.script.extend([BUSY, BUSY, BUSY, BUSY, SENT, Rejected("no")])
    async with harness.running() as dispatcher:
        await harness.tell(dispatcher)
        for attempt, wait in ((1, 10), (2, 10), (3, 10)):
            await harness.attempts(harness.mail, attempt)
            assert await harness.events() == []
            harness.later(dispatcher, wait)
        assert await harness.until(1) == ["sink.failing"]
        harness.later(dispatcher, 10)
        assert await harness.until(2) == ["sink.recovered", "sink.failing"]
        await harness.tell(dispatcher)
        await harness.attempts(harness.mail, 6)
    assert len(await harness.events()) == 2


async def test_a_sink_throttled_for_long_is_announced_when_deliveries_die(
    harness: DispatcherHarness,
) -> None:
    """Nothing is sent to it, so no attempt could fail; but deadlines pass, and that is an event."""
    harness.mail.script.append(RetryLater("429", after=7200))
    async with harness.running() as dispatcher:
        await harness.tell(dispatcher)
        await harness.attempts(harness.mail, 1)
        for _ in range(2):
            harness.later(dispatcher, 20)
            await harness.tell(dispatcher)
        assert await harness.events() == []
        harness.later(dispatcher, 3600)
        assert await harness.until(1) == ["sink.failing"]
        await harness.attempts(harness.chat, 1)
    assert len(harness.mail.got) == 1
    assert "gave up at the deadline" in str(harness.chat.sink_events[0][1])


async def test_a_restart_in_between_announces_nothing_twice(harness: DispatcherHarness) -> None:
    """The next process knows the last event, and announces the recovery."""
    harness.mail.otherwise = REFUSED
    async with harness.running() as dispatcher:
        await harness.tell(dispatcher)
        await harness.until(1)
    async with harness.running(owner="next") as dispatcher:
        harness.later(dispatcher, 6)
        await harness.attempts(harness.mail, 2)
        assert await harness.events() == ["sink.failing"]
        harness.mail.otherwise = SENT
        harness.later(dispatcher, 6)
        assert await harness.until(2) == ["sink.recovered", "sink.failing"]
        await harness.attempts(harness.chat, 2)
    assert [kind for kind, _, _ in harness.chat.sink_events] == ["sink.failing", "sink.recovered"]


async def test_a_failing_sink_event_causes_no_other(harness: DispatcherHarness) -> None:
    """If the notified sink is down too, its failures to take the event are not counted."""
    harness.mail.otherwise = harness.chat.otherwise = REFUSED
    async with harness.running() as dispatcher:
        await harness.tell(dispatcher)
        for attempt in (1, 2, 3):
            await harness.attempts(harness.chat, attempt)
            harness.later(dispatcher, 20)
    assert await harness.events() == ["sink.failing"]


async def test_a_dead_sink_event_does_not_fall_back_to_the_sink_concerned(harness: DispatcherHarness) -> None:
    """Its fallback would be notified of its own failure."""
    harness.mail.script.append(REFUSED)
    harness.chat.otherwise = Rejected("no")
    async with harness.running(fallback="mail") as dispatcher:
        await harness.tell(dispatcher)
        await harness.attempts(harness.chat, 1)
    rows = await harness.store.ledger.deliveries(DeliveryFilter())
    assert [(row.event_type, row.delivery.sink) for row in rows] == [
        ("sink.failing", "chat"),
        ("job.failed", "mail"),
    ]


async def test_a_store_that_fails_delays_the_sink_event(harness: DispatcherHarness) -> None:
    """The next failed attempt announces it."""
    harness.mail.otherwise = REFUSED
    refusing = Refusing(harness.store.sink_events, 1)
    async with harness.running(announcements=refusing) as dispatcher:
        await harness.tell(dispatcher)
        await harness.attempts(harness.mail, 1)
        assert refusing.failures == 0
        assert await harness.events() == []
        harness.later(dispatcher, 6)
        assert await harness.until(1) == ["sink.failing"]


async def test_without_another_sink_the_event_is_unrouted(harness: DispatcherHarness) -> None:
    """It is in the ledger."""
    harness.mail.otherwise = REFUSED
    async with harness.running(routes=(Route(sinks=("mail",)),)) as dispatcher:
        await harness.tell(dispatcher)
        await harness.until(1)
    [row] = await harness.store.ledger.deliveries(DeliveryFilter(state=DeliveryState.UNROUTED))
    assert row.event_type == "sink.failing"


async def test_replicas_announce_each_change_once_and_do_not_contradict_each_other(
    harness: DispatcherHarness,
) -> None:
    """The first to see a change announces it; an announced streak is not repeated after another's success."""
    one, two = harness.watch(), harness.watch()
    job = sample(EventType.JOB_FAILED)
    for watch, outcome, told in (
        (one, SENT, 0),
        (two, REFUSED, 1),
        (two, REFUSED, 1),
        (one, REFUSED, 1),
        (one, SENT, 2),
        (two, REFUSED, 2),
        (two, SENT, 2),
        (two, REFUSED, 3),
        (one, SENT, 4),
    ):
        harness.now[0] += 40
        await watch.record_attempt(job, outcome)
        assert len(await harness.events()) == told
    assert await harness.events() == ["sink.recovered", "sink.failing"] * 2


async def test_an_event_of_another_replica_during_an_outage_is_seen(harness: DispatcherHarness) -> None:
    """One could not write a recovery, and another wrote it: the next failure is an event again."""
    refusing = Refusing(harness.store.sink_events, 0)
    one, two = harness.watch(refusing), harness.watch()
    job = sample(EventType.JOB_FAILED)
    await one.record_attempt(job, REFUSED)
    await two.record_attempt(job, SENT)
    refusing.failures = 1
    await one.record_attempt(job, SENT)
    assert refusing.failures == 0
    await one.record_attempt(job, REFUSED)
    assert await harness.events() == ["sink.failing", "sink.recovered", "sink.failing"]
