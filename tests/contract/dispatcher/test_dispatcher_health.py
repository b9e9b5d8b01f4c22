"""The events about sinks, with a real SQLite store and sinks that follow a script."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmc_notify.core.outcome import Rejected, RetryLater
from cmc_notify.dispatcher import worker
from support.new_store import new_store
from support.sink_watch_harness import REFUSED, SENT, START, SinkWatchHarness

BUSY = RetryLater("503", after=1)


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


async def test_a_blocked_sink_is_announced_once_and_so_is_its_recovery(harness: SinkWatchHarness) -> None:
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


async def test_failures_in_a_row_must_last(harness: SinkWatchHarness) -> None:
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
    harness: SinkWatchHarness,
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


async def test_a_restart_in_between_announces_nothing_twice(harness: SinkWatchHarness) -> None:
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
