"""Test the first run, and what it passes over."""

from typing import Any

import pytest
from msgspec.structs import replace

from cmc_notify.core.events import EventType
from support.job_watcher import P1, P2, POLICY, Watcher, failed, job, rows

# --- first run --------------------------------------------------------------------------------------------

OPEN = job("InProgress", *rows(V1="failed"))
DONE = failed(*rows(V1="failed"))


@pytest.mark.parametrize(
    ("rule", "open_told", "done_told"),
    [
        ("none", [], []),
        ("open", ["job.started", "appliance.failed"], []),
        ("all", ["job.started", "appliance.failed"], ["job.failed"]),
        (10.0, ["job.started", "appliance.failed"], ["job.failed"]),
        (9.0, ["job.started", "appliance.failed"], []),
        (None, ["job.started", "appliance.failed"], ["job.failed"]),
    ],
)
def test_the_first_run_rule(rule: Any, open_told: list[str], done_told: list[str]) -> None:
    """It decides which of the jobs at the start are announced; a duration counts from their completion."""
    policy = replace(POLICY, first_run=rule)
    assert Watcher(policy).compare(OPEN, controller_now=310) == open_told
    assert Watcher(policy).compare(DONE, controller_now=310) == done_told


def test_a_silently_recorded_job_is_not_announced_later() -> None:
    """A silent job seen again gives nothing, and its silent pairs are not newly failed."""
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(OPEN)
    silent.compare(DONE)
    silent.policy = POLICY
    assert silent.compare(DONE) == []
    late = failed(*rows(V1="failed", V2="failed"))
    assert silent.compare(late) == ["appliance.failed"]
    assert silent.new("appliance.failed") == {P2}


def test_the_end_of_a_silently_recorded_job_announces_everything() -> None:
    """job.failed marks pairs new that nothing has announced before, silent ones too."""
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(OPEN)
    silent.policy = POLICY
    assert silent.compare(job("InProgress", *rows(V1="failed"), timestamp=5)) == []
    assert silent.compare(DONE) == ["job.failed"]
    assert silent.new("job.failed") == {P1}


@pytest.mark.parametrize(("status", "kind"), [("Success", "job.succeeded"), ("Canceled", "job.canceled")])
def test_a_silent_pair_is_new_in_the_end_that_announces_it_first(status: str, kind: str) -> None:
    """An end without failure may be the first event with a silently recorded pair: it marks it new."""
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(job("InProgress", *rows(V1="failed")))
    silent.policy = POLICY
    assert silent.compare(job(status, *rows(V1="failed"))) == [kind]
    assert silent.new(kind) == {P1}


def test_a_job_overdue_at_the_first_observation_is_not_announced_by_the_second() -> None:
    """Silence covers a push that had run too long already; one that comes to do so later is announced."""
    running = job("InProgress", push_time=200)
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(running, controller_now=9000)
    silent.policy = POLICY
    assert silent.wait(10, controller_now=9010) == []
    punctual = Watcher(replace(POLICY, first_run="none"))
    punctual.compare(running, controller_now=310)
    punctual.policy = POLICY
    assert punctual.wait(10, controller_now=9010) == ["job.overdue"]


def test_a_silent_pair_seen_otherwise_is_announced_when_it_fails_again() -> None:
    """Silence covers the failure that was there, not a later one."""
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(OPEN)
    silent.policy = POLICY
    silent.compare(job("InProgress", *rows(V1="running")))
    assert silent.compare(OPEN) == ["appliance.failed"]


def test_a_silent_failure_does_not_settle() -> None:
    """A silently recorded job does not settle either, so its end is not announced afterwards."""
    silent = Watcher(replace(POLICY, first_run="open"))
    assert silent.compare(failed()) == []
    assert not silent.is_open()
    assert silent.wait(60) == []


def test_every_change_raises_the_revision() -> None:
    """(uid, revision, type) can be unique because no two changes share a revision."""
    watcher = Watcher()
    revisions = []
    for each in (job("Queued"), OPEN, DONE, job("InProgress"), DONE):
        watcher.compare(each)
        revisions += [change.state.revision for change in watcher.last]
    assert revisions == sorted(set(revisions))
    assert EventType.JOB_FAILED in {draft.type for change in watcher.last for draft in change.drafts}
