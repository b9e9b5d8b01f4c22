"""``status``, ``failures`` and ``deliveries`` read the store, whether a bridge is there or not."""

import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery
from cmc_notify.core.events import EventType
from cmc_notify.core.model import TrackedFailure
from cmc_notify.core.samples import sample
from cmc_notify.ports import ControllerMeta, PollCommit
from cmc_notify.store import Store, lock, open_store
from support.command_line import Ended, written

HOUR = 3600.0
REASON = "channel_not_found: invite the bot"


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The config of one controller and two sinks, with a store in the folder."""
    config = {
        "controllers": {"emea": {"url": "http://127.0.0.1:9"}},
        "sinks": {"chat": {"type": "console"}, "screen": {"type": "console"}},
        "routes": [{"sinks": ["chat"]}],
        "store": {"url": f"sqlite:///{tmp_path}/store.db"},
    }
    return str(written(tmp_path, config))


@asynccontextmanager
async def bridge_store(folder: Path) -> AsyncIterator[Store]:
    """The store, held as a running bridge holds it."""
    store = await open_store(f"sqlite:///{folder}/store.db", clock=time.time, exclusive=True)
    try:
        yield store
    finally:
        await store.close()


async def polled(store: Store, *, at: float, failures: int = 0, deliveries: int = 0, **meta: Any) -> None:
    """One poll's commit, with open failures and deliveries to ``chat``."""
    text = "line one is long " + "x" * 300 + "\nline two"
    incidents = [
        TrackedFailure(
            id=f"i{number}",
            controller="emea",
            serial=f"V2AB{number:05}",
            feature_id=3,
            feature="QoS",
            appliance=None,
            error_text=text,
            opened_at=at,
            opened_event="e",
            job_uid="1-1",
            job_id=1,
            last_job_uid="1-1",
            failed_order=(1, 1),
        )
        for number in range(failures)
    ]
    event = sample(EventType.JOB_FAILED)
    new = [
        NewDelivery(
            id=f"d{number}",
            event_id=event.id,
            sink="chat",
            subject=f"s{number}",
            ordering_key=f"s{number}",
            due_at=at,
            deadline_at=time.time() + HOUR,
        )
        for number in range(deliveries)
    ]
    await store.poll.commit_poll(
        PollCommit(
            controller="emea",
            expected_version=0,
            meta=ControllerMeta(first_run_done=True, last_poll_at=at, last_attempt_at=at, **meta),
            failures=tuple(incidents),
            events=(event,),
            deliveries=tuple(new),
            event_uids={event.id: ("1-1", 1)},
        )
    )


async def refused(store: Store) -> None:
    """The first delivery of ``chat`` was refused, and the next one is a dead letter."""
    first, second = await store.outbox.claim("chat", owner="me", limit=2, lease=60)
    held = AttemptResult(
        state=DeliveryState.PENDING, due_at=time.time() + 30, error=REASON, counts_as_attempt=False
    )
    dead = AttemptResult(state=DeliveryState.DEAD, error="no such queue")
    assert await store.outbox.record(first.delivery.id, owner="me", result=held)
    assert await store.outbox.record(second.delivery.id, owner="me", result=dead)


async def test_status_says_that_no_bridge_is_running(file: str, tmp_path: Path, in_thread: Any) -> None:
    """Beside a bridge its state is ``ok``; hours after its end it is ``stale``, and who asks is told why."""

    async def status(*options: str) -> Ended:
        ended: Ended = await in_thread("status", *options, "--config", file)
        assert (ended.code, ended.err) == (0, "")
        return ended

    async with bridge_store(tmp_path) as store:
        await polled(store, at=time.time() - 5)
        out = (await status()).out
        assert "No bridge" not in out
        assert out.splitlines()[1].split()[:2] == ["emea", "ok"]
        assert msgspec.json.decode((await status("--json")).out)["bridge"] == {"running": True}
    assert (await status()).out.startswith("No bridge is running; last poll ")
    document = msgspec.json.decode((await status("--json")).out)
    assert document["bridge"] == {"running": False}
    assert document["controllers"][0]["state"] == "ok"  # for now: it was asked seconds ago


async def test_an_old_look_is_stale(file: str, tmp_path: Path, in_thread: Any) -> None:
    """A controller that nobody asked for three intervals is stale, also where the bridge still stands."""
    async with bridge_store(tmp_path) as store:
        await polled(store, at=time.time() - 3 * HOUR)
        out = (await in_thread("status", "--config", file)).out
        assert out.splitlines()[1].split() == ["emea", "stale", "3", "h", "ago", "0", "0"]
    out = (await in_thread("status", "--config", file)).out
    assert out.startswith("No bridge is running; last poll 3 h ago.\n")


async def test_status_names_what_is_wrong(file: str, tmp_path: Path, in_thread: Any) -> None:
    """Why a sink takes nothing, jobs that can't be read and unknown statuses are all seen at one look."""
    async with bridge_store(tmp_path) as store:
        malformed = tuple(f"job {number}: no id" for number in range(5))
        await polled(
            store, at=time.time(), deliveries=3, malformed=malformed, unknown_statuses=("Paused", "Lost")
        )
        await refused(store)
        code, out, err = await in_thread("status", "--config", file)
        assert (code, err) == (0, "")
        (chat,) = [line for line in out.splitlines() if line.startswith("chat")]
        assert chat.endswith(REASON)
        assert chat.split()[2] == "2"
        assert "emea: a job can't be read: job 2: no id" in out
        assert "job 3" not in out
        assert "emea: … and 2 more that can't be read; use --json to see all" in out
        assert "emea: unknown job statuses: Paused, Lost" in out
        document = msgspec.json.decode((await in_thread("status", "--json", "--config", file)).out)
        assert [sink["last_error"] for sink in document["sinks"]] == [REASON, None]
        assert len(document["controllers"][0]["malformed_jobs"]) == 5
        await store.ledger.retry(None, now=time.time())  # the dead letter waits too now, behind the first
        document = msgspec.json.decode((await in_thread("status", "--json", "--config", file)).out)
        assert document["sinks"][0]["last_error"] == REASON
        assert document["sinks"][0]["pending"] == 3


async def test_failures_are_few_lines(file: str, tmp_path: Path, in_thread: Any) -> None:
    """A list has fifty failures with the beginnings of their texts; JSON has all and everything."""
    async with bridge_store(tmp_path) as store:
        await polled(store, at=time.time(), failures=60)
        lines = (await in_thread("failures", "--config", file)).out.splitlines()
        assert len(lines) == 52
        assert lines[-1] == "… and 10 more; use --limit to show them"
        assert lines[1].startswith("emea/V2AB00000/3 ")
        assert lines[1].endswith("x…")
        assert max(map(len, lines)) < 220
        assert len((await in_thread("failures", "--limit", "100", "--config", file)).out.splitlines()) == 61
        everything = msgspec.json.decode((await in_thread("failures", "--json", "--config", file)).out)
        assert len(everything) == 60
        assert everything[0]["error_text"].endswith("\nline two")


def test_asking_keeps_no_bridge_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that starts in the very instant in which somebody asks gets the store all the same."""
    database = tmp_path / "store.db"
    assert not lock.is_locked(database)
    lock.FileLock(database).release()
    asker = os.open(lock.lock_file(database), os.O_RDONLY)
    fcntl.flock(asker, fcntl.LOCK_SH)
    monkeypatch.setattr("cmc_notify.store.lock.time.sleep", lambda _seconds: os.close(asker))
    bridge = lock.FileLock(database)
    assert lock.is_locked(database)
    bridge.release()
    assert not lock.is_locked(database)


async def test_a_retry_says_what_it_waits_for(file: str, tmp_path: Path, in_thread: Any) -> None:
    """Where the sink refuses what is pending, a retry is told to wait for its next probe; else not."""
    async with bridge_store(tmp_path) as store:
        await polled(store, at=time.time(), deliveries=2)
        await refused(store)
        code, out, _ = await in_thread("deliveries", "retry", "--dead", "--config", file)
        assert code == 0
        assert out.startswith("d1: due now to chat as d1\n")
        assert REASON in out
        assert "This is sent after the first try that succeeds" in out


async def test_a_retry_to_a_good_sink_says_no_more(file: str, tmp_path: Path, in_thread: Any) -> None:
    """The dead letter's own error is no sign that its sink takes nothing."""
    async with bridge_store(tmp_path) as store:
        await polled(store, at=time.time(), deliveries=1)
        (claim,) = await store.outbox.claim("chat", owner="me", limit=1, lease=60)
        dead = AttemptResult(state=DeliveryState.DEAD, error="no such queue")
        assert await store.outbox.record(claim.delivery.id, owner="me", result=dead)
        out = (await in_thread("deliveries", "retry", "--dead", "--config", file)).out
        assert out == "d0: due now to chat as d0\n"
