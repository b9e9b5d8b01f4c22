"""The poller with a controller over HTTP and a real store: its requests, commits and failures."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from cmc_notify.core.events import Event, rfc3339
from cmc_notify.errors import ControllerUnreachable, StaleSnapshot
from cmc_notify.poller import Poller
from cmc_notify.ports import PollCommit
from cmc_notify.simulator import Quirks, Row, SimulatedJob
from support.poller_harness import PollerHarness, polling

FAIL, GOOD = Row("V1", 3, "Completed", "Fail", "broke"), Row("V1", 3, "Completed", "Success")


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[PollerHarness]:
    """An empty controller whose first full list is committed."""
    async with polling(tmp_path) as made:
        assert await made.poll() == []
        yield made


def finished(harness: PollerHarness, status: str, *rows: Row, ago: int = 1, **fields: Any) -> SimulatedJob:
    """A job that ended so many seconds ago."""
    end = int(harness.sim.now) - ago
    times = {"creation_time": end - 20, "push_time": end - 10, "completion_time": end}
    return harness.sim.jobs.add(status=status, rows=rows, feature_ids=[3], **times | fields)


def old_jobs(harness: PollerHarness, count: int, **fields: Any) -> None:
    """Jobs that ended hours ago."""
    for number in range(count):
        finished(harness, "Success", GOOD, ago=90_000 - number, **fields)


async def beyond_the_lists(harness: PollerHarness, *, after: float) -> None:
    """Let time pass and add so many younger jobs that no filtered list shows an older finished one."""
    for _ in range(25):
        finished(harness, "Success", creation_time=int(harness.sim.now) + 3000)
    await harness.poll(after=after)


# --- a job's life -----------------------------------------------------------------------------------------


async def test_a_jobs_life_is_announced_as_the_polls_saw_it(harness: PollerHarness) -> None:
    """Queued, started, failing, the end; and nothing where nothing changed."""
    job = harness.sim.jobs.add(feature_ids=[3])
    assert await harness.poll() == ["4101 job.queued"]
    job.start()
    assert await harness.poll() == ["4101 job.started"]
    job.set_rows([FAIL, Row("V2", 3, "Running")])
    assert await harness.poll() == ["4101 appliance.failed"]
    assert await harness.poll() == []
    with job.change():
        job.set_row("V2", 3, "Success")
        job.finish("Failed")
    assert await harness.poll() == ["4101 job.failed"]
    assert await harness.poll() == []


async def test_a_restart_in_between_changes_nothing(harness: PollerHarness) -> None:
    """All that a poller knows is in the store: nothing is announced twice, and no change is missed."""
    job = harness.sim.jobs.add(feature_ids=[3])
    assert await harness.poll() == ["4101 job.queued"]
    harness.restart()
    assert await harness.poll() == []
    job.start()
    job.set_rows([FAIL])
    job.finish("Failed")
    harness.restart()
    assert await harness.poll() == ["4101 job.failed"]
    harness.restart()
    finished(harness, "Success", GOOD)
    assert await harness.poll() == ["4102 appliance.recovered", "4102 job.succeeded"]


async def test_a_settling_failure_survives_a_restart(harness: PollerHarness) -> None:
    """The settle time continues, and the next poller announces the text."""
    finished(harness, "Failed", FAIL, Row("V2", 3, "Running"))
    assert await harness.poll() == []
    harness.restart()
    assert await harness.poll(after=59) == []
    [event] = await harness.events(after=1)
    assert event.job
    assert event.job.details_pending
    assert [failure.error_text for failure in event.failures] == ["broke"]


async def test_details_that_come_late_are_found_by_id(harness: PollerHarness) -> None:
    """A job is looked up for ten minutes after it was announced without its details."""
    job = finished(harness, "Failed")
    await harness.poll()
    assert await harness.poll(after=60) == ["4101 job.failed"]
    await beyond_the_lists(harness, after=500)
    job.set_rows([FAIL])
    assert await harness.poll(after=90) == ["4101 appliance.failed"]
    job.set_rows([FAIL, FAIL._replace(serial="V2")])
    assert await harness.poll() == []


async def test_a_reused_id_is_another_job(harness: PollerHarness) -> None:
    """The old job vanished, the new one is new, and its success still closes the old one's failures."""
    old = finished(harness, "Failed", FAIL, job_id=7, ago=5)
    assert await harness.poll() == ["7 job.failed"]
    old.purge()
    finished(harness, "Success", GOOD, job_id=7)
    assert await harness.poll() == ["7 appliance.recovered", "7 job.succeeded"]


async def test_an_open_job_whose_id_went_to_another_is_gone(harness: PollerHarness) -> None:
    """Its id returns another job, so the first one vanished."""
    old = harness.sim.jobs.add(job_id=7)
    await harness.poll()
    old.purge()
    harness.sim.jobs.add(job_id=7, creation_time=int(harness.sim.now) + 5)
    assert sorted(await harness.poll()) == ["7 job.queued", "7 job.vanished"]


async def test_an_open_job_that_is_gone_is_announced_once(harness: PollerHarness) -> None:
    """404 by id; afterwards it is not requested any more."""
    job = harness.sim.jobs.add()
    await harness.poll()
    job.purge()
    assert await harness.poll() == ["4101 job.vanished"]
    assert await harness.poll() == []
    assert not any("/items/" in asked for asked in await harness.requests())


async def test_a_job_that_comes_back_is_followed_again(harness: PollerHarness) -> None:
    """Also if it is exactly as before."""
    job = harness.sim.jobs.add()
    await harness.poll()
    job.purge()
    await harness.poll()
    harness.sim.jobs._listed[job.key] = job
    harness.sim.jobs.generation += 1
    assert await harness.poll() == []
    await beyond_the_lists(harness, after=3600)
    job.finish("Canceled")
    assert await harness.poll() == ["4101 job.canceled"]


async def test_a_job_with_the_same_bytes_as_before_has_changed_all_the_same(harness: PollerHarness) -> None:
    """Failed, running and failed again with the same bytes: the second failure is new."""
    job = harness.sim.jobs.add(feature_ids=[3])
    job.start()
    told = []
    for rows in ([Row("V1", 3, "Running")], [FAIL]) * 2:
        job.set_rows(rows)
        told.append(await harness.poll())
    assert told == [["4101 job.started"], ["4101 appliance.failed"], [], ["4101 appliance.failed"]]


async def test_a_job_that_nobody_watches_any_more_is_still_known(harness: PollerHarness) -> None:
    """Its state is read from the store: a rerun long after is a rerun, not a new job."""
    job = finished(harness, "Failed", FAIL)
    await harness.poll()
    await harness.poll(after=700)
    assert not harness.result.busy
    job.rerun()
    assert await harness.poll() == ["4101 job.reopened", "4101 job.started"]


# --- the first run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("none", []),
        ("open", ["3 job.started", "3 appliance.failed"]),
        ("1h", ["2 job.failed", "3 job.started", "3 appliance.failed"]),
        ("all", ["1 job.failed", "2 job.failed", "3 job.started", "3 appliance.failed"]),
    ],
)
async def test_the_first_run_rule(tmp_path: Path, rule: str, told: list[str]) -> None:
    """Jobs of the first list are announced by the rule, later ones always, recoveries if announced."""
    async with polling(tmp_path, first_run=rule) as harness:
        finished(harness, "Failed", FAIL, job_id=1, ago=9000)
        finished(harness, "Failed", FAIL._replace(serial="V2"), job_id=2, ago=60)
        now = int(harness.sim.now)
        harness.sim.jobs.add(
            job_id=3, status="InProgress", push_time=now, rows=[FAIL._replace(serial="V3")], feature_ids=[3]
        )
        assert await harness.poll() == told
        harness.restart()
        assert await harness.poll() == []
        finished(harness, "Success", GOOD, job_id=9)
        recovered = ["9 appliance.recovered"] if rule == "all" else []
        assert await harness.poll() == [*recovered, "9 job.succeeded"]


async def test_a_first_list_that_fails_is_no_first_run(tmp_path: Path) -> None:
    """The rule holds until a full list is committed."""
    async with polling(tmp_path, first_run="none") as harness:
        finished(harness, "Failed", FAIL)
        harness.sim.fail_next("500", path="/jobs")
        assert await harness.poll() == []
        assert not harness.result.ok
        assert await harness.poll() == []
        assert harness.result.ok


async def test_a_whole_past_is_announced_once_and_then_not_requested(tmp_path: Path) -> None:
    """After a first run that announces all, the next poll requests three lists and no old job."""
    async with polling(tmp_path) as harness:
        old_jobs(harness, 40)
        assert len(await harness.poll()) == 40
        assert [re.sub(r"\d+", "…", asked) for asked in await harness.requests()] == [
            "?job_status=Queued", "?job_status=InProgress", "?after=…",
        ]  # fmt: skip
        assert not harness.result.busy


# --- what is asked ----------------------------------------------------------------------------------------


async def test_an_unchanged_controller_costs_three_lists(harness: PollerHarness) -> None:
    """Queued, InProgress, new; by id only jobs in none of them; and nothing is decoded or announced."""
    old_jobs(harness, 25)
    harness.sim.jobs.add()
    await harness.poll()
    await harness.poll(after=700)
    with capture_logs() as log:
        asked = await harness.requests()
    assert [each.split("=")[0] for each in asked] == ["?job_status", "?job_status", "?after"]
    assert harness.result.events == 0
    assert [line["decoded"] for line in log if line["event"] == "poll.done"] == [0]


async def test_a_job_missing_from_the_lists_is_looked_up_by_id(harness: PollerHarness) -> None:
    """A job that ran for a long time and ended is in no filtered list any more."""
    job = harness.sim.jobs.add()
    job.start()
    await harness.poll()
    await beyond_the_lists(harness, after=3600)
    job.finish("Success")
    before = len(harness.sim.requests)
    assert await harness.poll() == ["4101 job.succeeded"]
    assert any("/jobs/items/4101" in entry.target for entry in harness.sim.requests[before:])


async def test_a_full_list_comes_round(tmp_path: Path) -> None:
    """Every full_sync, and it finds jobs that the filters can't show."""
    async with polling(tmp_path, full_sync="1h") as harness:
        await harness.poll()
        for _ in range(25):
            finished(harness, "Success")
        await harness.poll()
        late = finished(harness, "Failed", FAIL, ago=50_000)
        assert await harness.poll() == []
        assert await harness.poll(after=3600) == [f"{late.id} job.failed"]


@pytest.mark.parametrize(
    ("quirks", "belief"),
    [
        (Quirks(), "proven"),
        (Quirks(inclusive=False), "proven"),
        (Quirks(after_field="push"), "proven"),
        (Quirks(after_field="completion", inclusive=False), "proven"),
        (Quirks(filters_ignored=True), "ignored"),
        (Quirks(spelling="upper", strict_filter_spelling=True, after_field="completion"), "incomplete"),
    ],
)
async def test_filters_are_proven_and_nothing_is_lost_whatever_they_do(
    tmp_path: Path, quirks: Quirks, belief: str
) -> None:
    """Ignored or incomplete filters are not used: then each poll is one plain list."""
    async with polling(tmp_path, quirks=quirks) as harness:
        old_jobs(harness, 25)
        first = harness.sim.jobs.add()
        await harness.poll()
        assert (await harness.meta()).filters == belief
        second = harness.sim.jobs.add()
        assert await harness.poll() == [f"{second.id} job.queued"]
        first.start()
        assert await harness.poll() == [f"{first.id} job.started"]
        first.finish("Success")
        second.finish("Canceled")
        assert sorted(await harness.poll()) == [f"{first.id} job.succeeded", f"{second.id} job.canceled"]
        if belief != "proven":
            assert await harness.requests() == ["full"]


async def test_a_proof_that_fails_keeps_the_full_list(tmp_path: Path) -> None:
    """The jobs of the list are announced, and the filters are proven in the next poll."""
    async with polling(tmp_path) as harness:
        harness.sim.jobs.add()
        harness.sim.fail_next("500", path="job_status")
        assert await harness.poll() == ["4101 job.queued"]
        assert (await harness.meta()).filters == "unproven"
        assert await harness.poll() == []
        assert (await harness.meta()).filters == "proven"


# --- what goes wrong --------------------------------------------------------------------------------------


async def test_a_malformed_job_blinds_nobody(harness: PollerHarness) -> None:
    """It is logged and stored with its id; the others are committed; it is announced once it can be read."""
    harness.sim.jobs.add_raw(b'"nonsense"')
    bad = harness.sim.jobs.add(overrides={"feature_ids": 7, "detailed_status": "x", "job_status": {"a": 1}})
    good = harness.sim.jobs.add()
    harness.restart()
    with capture_logs(processors=[merge_contextvars]) as log:
        assert await harness.poll() == [f"{good.id} job.queued"]
    told = [line for line in log if line["event"] == "job.malformed"]
    assert [line["controller"] for line in told] == ["emea", "emea"]
    assert bad.id in [line["job_id"] for line in told]
    broken = (await harness.meta()).malformed
    assert len(broken) == 2
    assert any(str(bad.id) in line for line in broken)
    assert await harness.poll(after=3600) == []
    assert (await harness.meta()).malformed == broken
    bad.overrides.clear()
    bad.finish("Canceled")
    assert await harness.poll() == [f"{bad.id} job.canceled"]
    assert len((await harness.meta()).malformed) == 2
    await harness.poll(after=3600)
    assert len((await harness.meta()).malformed) == 1


async def test_an_open_job_that_can_not_be_read_for_a_while_is_not_gone(harness: PollerHarness) -> None:
    """It is announced when it is readable again."""
    job = harness.sim.jobs.add()
    await harness.poll()
    job.override(detailed_status="x")
    assert await harness.poll() == []
    assert (await harness.meta()).malformed
    job.overrides.clear()
    job.finish("Success")
    assert await harness.poll() == ["4101 job.succeeded"]


@pytest.mark.parametrize(("fault", "count"), [("500", 1), ("cut", 1), ("garbage", 1), ("401", 2)])
async def test_a_look_up_that_fails_delays_its_job_only(
    harness: PollerHarness, fault: Any, count: int
) -> None:
    """The poll succeeds; the other job is announced now, this one by the next poll."""
    one, other = harness.sim.jobs.add(), harness.sim.jobs.add()
    for job in (one, other):
        job.start()
    await harness.poll()
    await beyond_the_lists(harness, after=3600)
    for job in (one, other):
        job.finish("Success")
    harness.sim.fail_next(fault, count, path=f"/items/{one.id}")
    assert await harness.poll() == [f"{other.id} job.succeeded"]
    assert harness.result.ok
    assert await harness.poll() == [f"{one.id} job.succeeded"]


async def test_a_list_that_fails_commits_nothing(harness: PollerHarness) -> None:
    """Not even what an earlier list of the same poll showed."""
    harness.sim.jobs.add()
    harness.sim.fail_next("500", path="after=")
    harness.sim.fail_next("500", path="InProgress")
    assert await harness.poll() == []
    assert not harness.result.ok
    assert await harness.poll() == ["4101 job.queued"]


async def test_an_outage_is_announced_once_and_so_is_its_end(harness: PollerHarness) -> None:
    """After unreachable_after failed polls, also over a restart; since when, and the recovery too."""
    with harness.sim.outage("503"):
        assert await harness.poll() == []
        began = harness.sim.now
        [lost] = await harness.events()
        assert (lost.type, lost.controller) == ("controller.unreachable", "emea")
        assert lost.since
        assert lost.reason
        harness.restart()
        assert await harness.poll() == []
        assert (await harness.meta()).unreachable_since == began
    [back] = await harness.events()
    assert (back.type, back.since) == ("controller.recovered", lost.since)
    assert await harness.poll() == []


async def test_a_restart_does_not_shorten_an_outage(harness: PollerHarness) -> None:
    """Since is the first failed poll, though the bridge was restarted before the outage was announced."""
    with harness.sim.outage("503"):
        assert await harness.poll() == []
        began = harness.sim.now
        assert (await harness.meta()).failing_since == began
        harness.restart()
        [lost] = await harness.events()
        assert (lost.type, lost.since) == ("controller.unreachable", rfc3339(began))
    [back] = await harness.events()
    assert (back.type, back.since) == ("controller.recovered", rfc3339(began))
    assert (await harness.meta()).failing_since is None


async def test_refused_credentials_are_announced_at_once_and_once(harness: PollerHarness) -> None:
    """An operator must act, so it is announced at once."""
    with harness.sim.outage("401"):
        assert await harness.poll() == ["- controller.unauthorized"]
        assert await harness.poll() == []
    assert await harness.poll() == ["- controller.recovered"]


async def test_a_settling_failure_is_announced_in_time_during_an_outage(harness: PollerHarness) -> None:
    """Its known details do not wait for the controller, and are not announced again afterwards."""
    finished(harness, "Failed", FAIL, Row("V2", 3, "Running"))
    assert await harness.poll() == []
    with harness.sim.outage("503"):
        assert await harness.poll() == []
        assert await harness.poll(after=45) == ["4101 job.failed", "- controller.unreachable"]
        harness.restart()
        assert await harness.poll() == []
    finished(harness, "Success", GOOD)
    assert await harness.poll() == [
        "- controller.recovered",
        "4102 appliance.recovered",
        "4102 job.succeeded",
    ]


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


# --- the watchdog -----------------------------------------------------------------------------------------


async def never(*_arguments: object, **_more: object) -> None:
    """Never return."""
    await asyncio.Event().wait()


@contextmanager
def impatient(poller: Poller) -> Iterator[None]:
    """The watchdog waits for a moment only: a hang here is for ever, and all else has enough time."""
    patient = poller._settings
    poll = patient.poll.model_copy(update={"watchdog": 0.2})
    poller._settings = patient.model_copy(update={"poll": poll})
    yield
    poller._settings = patient


async def test_a_poll_that_hangs_is_ended_and_announced_like_a_failed_one(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog ends it; it counts, is announced as unreachable with that reason, and is repeated."""
    told: list[Event] = []
    with impatient(harness.poller), monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(harness.poller._source, "list_jobs", never)
        for _ in range(3):
            told += await harness.events()
            assert (harness.result.ok, harness.result.hung) == (False, True)
    [event] = told
    assert event.type == "controller.unreachable"
    assert "the poll hung" in str(event.reason)
    assert [line["log_level"] for line in log if line["event"] == "poll.hung"] == ["error"] * 3
    assert (await harness.meta()).failed_polls == 3
    counted = harness.metrics.registry.get_sample_value
    assert counted("cmc_notify_polls_total", {"controller": "emea", "result": "hung"}) == 3
    assert counted("cmc_notify_controller_up", {"controller": "emea"}) == 0
    assert await harness.poll() == ["- controller.recovered"]
    assert not harness.result.hung


async def test_a_controller_that_trickles_makes_a_poll_hang(tmp_path: Path) -> None:
    """Its response comes byte by byte, within the time-out of one request, and yet too late."""
    async with polling(tmp_path, timeout=20) as harness:
        harness.sim.faults.slow_for = 2
        with harness.sim.outage("slow"), impatient(harness.poller):
            assert await harness.poll() == []
        assert harness.result.hung
        assert await harness.poll() == []
        assert harness.result.ok


@pytest.mark.parametrize("method", ["load_snapshot", "commit_poll"])
async def test_a_store_that_hangs_hangs_no_poll(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """During a read or a write: the poll ends, does not count against the controller, and is repeated."""
    harness.restart()
    harness.sim.jobs.add()
    with impatient(harness.poller), monkeypatch.context() as patch:
        patch.setattr(harness.store.poll, method, never)
        assert await harness.poll() == []
        assert (harness.result.ok, harness.result.hung) == (False, True)
        assert "store" in str(harness.result.error)
    assert await harness.poll() == ["4101 job.queued"]
    assert (await harness.meta()).failed_polls == 0


async def test_the_end_of_a_hung_poll_does_not_wait_for_a_store_that_hangs(
    harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controller and store hang: the poll ends within the times of the watchdog and of the commit."""
    with impatient(harness.poller), monkeypatch.context() as patch:
        patch.setattr("cmc_notify.poller.poller.FAILURE_COMMIT_TIMEOUT", 0.2)
        patch.setattr(harness.poller._source, "list_jobs", never)
        patch.setattr(harness.store.poll, "commit_poll", never)
        async with asyncio.timeout(10):
            assert await harness.poll() == []
        assert (harness.result.ok, harness.result.hung) == (False, True)
    assert await harness.poll() == []
    assert harness.result.ok


async def test_an_unknown_status_is_reported_and_stops_nothing(harness: PollerHarness) -> None:
    """The job is followed as an open one."""
    job = harness.sim.jobs.add(status="Rolling back")
    assert await harness.poll() == []
    assert (await harness.meta()).unknown_statuses == ("Rolling back",)
    job.finish("Success")
    assert await harness.poll() == ["4101 job.succeeded"]


async def test_nothing_that_an_operator_wants_removed_is_stored(
    harness: PollerHarness, tmp_path: Path
) -> None:
    """It is in no table of the database file."""
    harness.poller = harness.new_poller(redact=(re.compile(r"community \S+"),))
    finished(
        harness, "Failed", FAIL._replace(error_text="bad community s3cret here"), Row("V2", 3, "Running")
    )
    await harness.poll()
    [event] = await harness.events(after=60)
    assert event.failures[0].error_text == "bad [redacted] here"
    files = list(tmp_path.glob("poller.db*"))  # noqa: ASYNC240  nothing else runs here
    assert not any(b"s3cret" in file.read_bytes() for file in files)
