"""Test two pollers on one store, fences and lost leadership."""

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from cmc_notify.errors import ControllerUnreachable, StaleSnapshot
from cmc_notify.ports import PollCommit
from support.poller_harness import PollerHarness
from support.poller_jobs import FAIL, finished


async def test_of_two_pollers_one_commits_and_the_other_reads_again(harness: PollerHarness) -> None:
    """A stale snapshot writes nothing; the second poller continues at once from the first one's commit."""
    second = harness.new_poller()
    assert (await second.poll()).ok
    harness.sim.jobs.add()
    assert (await second.poll()).ok
    with capture_logs(processors=[merge_contextvars]) as log:
        assert await harness.poll() == ["4101 job.queued"]
    assert harness.result.ok
    [line] = [line for line in log if line["event"] == "poll.superseded"]
    assert (line["log_level"], line["controller"]) == ("info", "emea")
    assert line["reason"]
    assert await harness.poll() == []


async def test_a_failure_closed_by_hand_does_not_fail_the_poll(harness: PollerHarness) -> None:
    """The poll that it supersedes counts so, and its changes are announced all the same."""
    finished(harness, "Failed", FAIL)
    assert await harness.poll() == ["4101 job.failed"]
    [failure] = await harness.store.ledger.failures()
    assert await harness.store.ledger.close_failure(failure.id, now=harness.sim.now)
    finished(harness, "Failed", FAIL)
    assert await harness.poll() == ["4102 job.failed"]
    assert harness.result.ok
    counted = harness.metrics.registry.get_sample_value
    labels = {"controller": "emea"}
    assert counted("cmc_notify_polls_total", labels | {"result": "superseded"}) == 1
    assert counted("cmc_notify_polls_total", labels | {"result": "error"}) is None
    assert counted("cmc_notify_controller_up", labels) == 1


async def test_a_poll_overtaken_again_and_again_ends(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts, then the interval: a store that always refuses is not called without end."""
    attempts = 0

    async def refuse(_commit: PollCommit) -> int:
        nonlocal attempts
        attempts += 1
        raise StaleSnapshot("another commit came first")

    monkeypatch.setattr(harness.store.poll, "commit_poll", refuse)
    assert await harness.poll() == []
    assert attempts == 2
    assert not harness.result.ok
    assert harness.result.busy


async def test_a_poller_that_is_always_superseded_is_logged_as_an_error(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other commits may supersede a poll sometimes; after three polls in a row the reason is logged."""

    async def refuse(_commit: PollCommit) -> int:
        raise StaleSnapshot("a change was already told")

    with monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(harness.store.poll, "commit_poll", refuse)
        for _ in range(2):
            await harness.poll()
        assert [line for line in log if line["event"] == "poll.stuck"] == []
        await harness.poll()
    [line] = [line for line in log if line["event"] == "poll.stuck"]
    assert (line["log_level"], line["polls"]) == ("error", 3)
    assert line["reason"] == "a change was already told"
    await harness.poll()
    with monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(harness.store.poll, "commit_poll", refuse)
        await harness.poll()
    assert [line for line in log if line["event"] == "poll.stuck"] == []


# --- leads ------------------------------------------------------------------------------------------------


async def test_every_commit_carries_the_fence(harness: PollerHarness) -> None:
    """Of a good poll and a failed one: once another replica leads, neither writes anything."""
    leaders = harness.store.leadership
    old = await leaders.acquire("poll:emea", owner="a", ttl=0)
    assert old
    assert (await harness.poller.poll(old)).ok
    version = (await harness.store.poll.load_snapshot("emea")).version
    new = await leaders.acquire("poll:emea", owner="b", ttl=60)
    assert new
    harness.sim.jobs.add()
    asked = len(harness.sim.requests)
    result = await harness.poller.poll(old)
    assert "another replica leads" in str(result.error)
    once = len(harness.sim.requests) - asked
    with harness.sim.outage("503"):
        assert "another replica leads" in str((await harness.poller.poll(old)).error)
    assert (await harness.store.poll.load_snapshot("emea")).version == version
    assert await harness.store.ledger.events() == []
    assert (await harness.poller.poll(new)).events == 1
    assert once <= 4, "who was deposed asks only once"


async def test_a_new_lead_begins_with_what_the_store_knows(harness: PollerHarness) -> None:
    """Under another fence the poller does not trust its memory: it reads the store, and all jobs."""
    fence = await harness.store.leadership.acquire("poll:emea", owner="a", ttl=0)
    assert (await harness.poller.poll(fence)).ok
    other = harness.new_poller()
    job = harness.sim.jobs.add()
    assert (await other.poll(fence)).events == 1
    again = await harness.store.leadership.acquire("poll:emea", owner="b", ttl=60)
    job.start()
    before = len(harness.sim.requests)
    result = await harness.poller.poll(again)
    assert (result.ok, result.events) == (True, 1)
    targets = [entry.target.partition("/jobs")[2] for entry in harness.sim.requests[before:]]
    assert targets[0] == "", "a full list comes first"
    counted = harness.metrics.registry.get_sample_value
    assert counted("cmc_notify_polls_total", {"controller": "emea", "result": "superseded"}) is None


async def test_what_is_forgotten_shows_in_no_metric(harness: PollerHarness) -> None:
    """A standby replica shows no metric of the controller: the leader does."""
    harness.sim.jobs.add()
    await harness.poll()
    counted = harness.metrics.registry.get_sample_value
    labels = {"controller": "emea"}
    gauges = ("cmc_notify_controller_up", "cmc_notify_jobs_open")
    assert [counted(name, labels) for name in gauges] == [1, 1]
    harness.poller.forget()
    assert [counted(name, labels) for name in gauges] == [None, None]
    assert await harness.poll() == []


async def test_a_poll_that_fails_as_its_lead_is_lost_writes_nothing(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that times out hides the cancellation: the poll ends on its own, and is not a failure."""

    async def lose(*_arguments: object, **_more: object) -> None:
        harness.poller.forget()
        raise ControllerUnreachable("time-out")

    await harness.poll()
    with monkeypatch.context() as patch:
        patch.setattr(harness.poller._source, "list_jobs", lose)
        assert await harness.poll() == []
    assert (harness.result.ok, harness.result.hung) == (False, False)
    assert "the lead was lost" in str(harness.result.error)
    assert (await harness.meta()).failed_polls == 0
    assert await harness.poll() == []
    assert harness.result.ok
