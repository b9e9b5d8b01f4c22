"""Test the events about sinks: where they go, when they fail, with several replicas."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Rejected
from cmc_notify.core.routing import Route
from cmc_notify.core.samples import sample
from cmc_notify.core.sink_health import SinkEvent
from cmc_notify.dispatcher import worker
from cmc_notify.errors import StoreUnavailable
from cmc_notify.ports import DeliveryFilter
from support.new_store import new_store
from support.sink_watch_harness import REFUSED, SENT, START, SinkWatchHarness


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


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SinkWatchHarness]:
    """An empty harness."""
    now = [START]
    store = await new_store(tmp_path / "store.db", clock=lambda: now[0])
    yield SinkWatchHarness(store, now)
    await store.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker checks on its own: a commit must wake it."""
    monkeypatch.setattr(worker, "IDLE_CHECK_EVERY", 60.0)


async def test_a_failing_sink_event_causes_no_other(harness: SinkWatchHarness) -> None:
    """If the notified sink is down too, its failures to take the event are not counted."""
    harness.mail.otherwise = harness.chat.otherwise = REFUSED
    async with harness.running() as dispatcher:
        await harness.tell(dispatcher)
        for attempt in (1, 2, 3):
            await harness.attempts(harness.chat, attempt)
            harness.later(dispatcher, 20)
    assert await harness.events() == ["sink.failing"]


async def test_a_dead_sink_event_does_not_fall_back_to_the_sink_concerned(harness: SinkWatchHarness) -> None:
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


async def test_a_store_that_fails_delays_the_sink_event(harness: SinkWatchHarness) -> None:
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


async def test_without_another_sink_the_event_is_unrouted(harness: SinkWatchHarness) -> None:
    """It is in the ledger."""
    harness.mail.otherwise = REFUSED
    async with harness.running(routes=(Route(sinks=("mail",)),)) as dispatcher:
        await harness.tell(dispatcher)
        await harness.until(1)
    [row] = await harness.store.ledger.deliveries(DeliveryFilter(state=DeliveryState.UNROUTED))
    assert row.event_type == "sink.failing"


async def test_replicas_announce_each_change_once_and_do_not_contradict_each_other(
    harness: SinkWatchHarness,
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


async def test_an_event_of_another_replica_during_an_outage_is_seen(harness: SinkWatchHarness) -> None:
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
