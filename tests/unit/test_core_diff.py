"""Two observations of a job give exactly its events, and nothing else."""

import pytest
from msgspec.structs import replace

from support.job_watcher import P1, P2, POLICY, Watcher, failed, job, rows, seen


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("Queued", ["job.queued"]),
        ("InProgress", ["job.started"]),
        ("Success", ["job.succeeded"]),
        ("Canceled", ["job.canceled"]),
        ("Paused", []),
    ],
)
def test_a_first_observation_announces_the_present_state_and_no_other(status: str, told: list[str]) -> None:
    """A new job gives the event of the state that it is in; an unknown status gives none."""
    assert Watcher().compare(job(status)) == told


def test_each_observed_transition_is_announced() -> None:
    """Queued, started and the end are announced one by one, each with the status before."""
    watcher = Watcher()
    assert watcher.compare(job("Queued")) == ["job.queued"]
    assert watcher.compare(job("InProgress")) == ["job.started"]
    assert watcher.last[0].drafts[0].previous_status == "Queued"
    assert watcher.compare(job("Success")) == ["job.succeeded"]
    assert watcher.last[0].drafts[0].previous_status == "InProgress"


def test_a_transition_that_was_not_observed_is_not_announced() -> None:
    """From Queued to Success in one step there is no start to announce."""
    assert seen(job("Queued")).compare(job("Success")) == ["job.succeeded"]


@pytest.mark.parametrize("status", ["Queued", "InProgress", "Success", "Failed", "Canceled", "Paused"])
def test_a_second_observation_at_the_same_gives_nothing(status: str) -> None:
    """An unchanged job changes nothing, so nothing is written for it."""
    same = job(status, *rows(V1="failed", V2="succeeded"), push_time=200)
    watcher = seen(same)
    assert watcher.compare(same) == []
    assert watcher.last == []


def test_a_held_failure_seen_again_unchanged_gives_nothing() -> None:
    """While it settles, too, an unchanged job changes nothing."""
    watcher = seen(failed())
    assert watcher.compare(failed()) == []
    assert watcher.last == []


def test_pairs_that_fail_while_the_job_runs_are_announced_once() -> None:
    """Each newly failed pair is in one appliance.failed; the end lists all and marks only the rest new."""
    watcher = seen(job("InProgress", *rows(V1="running", V2="running")))
    assert watcher.compare(job("InProgress", *rows(V1="failed", V2="running"))) == ["appliance.failed"]
    assert watcher.new("appliance.failed") == {P1}
    assert watcher.compare(failed(*rows(V1="failed", V2="failed"))) == ["job.failed"]
    assert watcher.new("job.failed") == {P2}
    assert watcher.last[0].drafts[0].pairs == {P1, P2}


def test_started_and_failed_pairs_at_once_come_in_order() -> None:
    """A first observation of a running job with failed pairs announces the start, then the pairs."""
    assert Watcher().compare(job("InProgress", *rows(V1="failed"))) == ["job.started", "appliance.failed"]


@pytest.mark.parametrize(("status", "told"), [("Success", "job.succeeded"), ("Canceled", "job.canceled")])
def test_failed_pairs_of_a_job_that_does_not_end_failed(status: str, told: str) -> None:
    """They have an event of their own, before the final one, which names every failed pair, none as new."""
    watcher = seen(job("InProgress", *rows(V1="failed")))
    assert watcher.compare(job(status, *rows(V1="failed", V2="failed"))) == ["appliance.failed", told]
    first, final = watcher.last[0].drafts
    assert (first.pairs, first.new) == (frozenset({P2}), frozenset({P2}))
    assert (final.pairs, final.new) == (frozenset({P1, P2}), frozenset())


def test_a_pair_that_recovered_in_between_is_newly_failed_again() -> None:
    """Seen not failed in between, it is announced again; an absent row is not that."""
    watcher = seen(job("InProgress", *rows(V1="failed")))
    assert watcher.compare(job("InProgress")) == []
    assert watcher.compare(job("InProgress", *rows(V1="failed"))) == []
    assert watcher.compare(job("InProgress", *rows(V1="running"))) == []
    assert watcher.compare(job("InProgress", *rows(V1="failed"))) == ["appliance.failed"]


def test_progress_is_announced_if_a_sink_wants_it_and_outcomes_changed() -> None:
    """Another text alone is no progress; without an updating sink there is none at all."""
    before, after = rows(V1="pending"), rows(V1="running")
    watcher = seen(job("InProgress", *before), policy=replace(POLICY, progress=True))
    assert watcher.compare(job("InProgress", *before, timestamp=9)) == []
    assert watcher.compare(job("InProgress", *after)) == ["job.progress"]
    assert watcher.compare(job("Success", *rows(V1="succeeded"))) == ["job.succeeded"]
    assert seen(job("InProgress", *before)).compare(job("InProgress", *after)) == []


# --- reruns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["Success", "Failed", "Canceled"])
@pytest.mark.parametrize(("status", "then"), [("Queued", []), ("InProgress", ["job.started"])])
def test_a_finished_job_that_is_open_again_is_reopened(end: str, status: str, then: list[str]) -> None:
    """The rerun is announced first, with the status before it, then its present state."""
    watcher = seen(job(end, *rows(V1="failed")))
    assert watcher.compare(job(status)) == ["job.reopened", *then]
    assert watcher.last[0].drafts[0].previous_status == end


@pytest.mark.parametrize("field", ["push_time", "completion_time"])
def test_another_known_time_on_a_finished_job_is_a_rerun(field: str) -> None:
    """It ended again, and every failed pair of the new run is new."""
    watcher = seen(failed(*rows(V1="failed")))
    assert watcher.compare(failed(*rows(V1="failed"), **{field: 301})) == ["job.reopened", "job.failed"]
    assert watcher.new("job.failed") == {P1}


@pytest.mark.parametrize("field", ["push_time", "completion_time"])
def test_a_time_that_comes_or_goes_is_no_rerun(field: str) -> None:
    """Details may follow the status, and a known time is kept where it is no longer shown."""
    watcher = seen(failed(*rows(V1="failed"), **{field: None}))
    assert watcher.compare(failed(*rows(V1="failed"))) == []
    assert watcher.compare(failed(*rows(V1="failed"), **{field: None})) == []
    assert watcher.compare(failed(*rows(V1="failed"), **{field: 999}))[0] == "job.reopened"


def test_a_rerun_ends_the_settling_of_the_run_before() -> None:
    """The settling end is announced with the details so far, before the new run."""
    watcher = seen(failed(*rows(V1="failed", V2="running")))
    assert watcher.compare(job("InProgress")) == ["job.failed", "job.reopened", "job.started"]
    assert watcher.new("job.failed") == {P1}
    assert [change.state.revision for change in watcher.last] == [2, 3]


def test_a_rerun_keeps_the_jobs_creation_time() -> None:
    """It is part of the job's name, so it stays where a later run does not show it."""
    watcher = seen(failed(*rows(V1="failed")))
    watcher.compare(job("InProgress", creation_time=None))
    assert watcher.known.job.creation_time == 100


def test_a_rerun_starts_with_a_clean_slate() -> None:
    """Overdue warnings and announced pairs belong to one run."""
    running = job("InProgress", *rows(V1="failed"), push_time=200)
    watcher = Watcher()
    assert watcher.compare(running, controller_now=3801)[-1] == "job.overdue"
    watcher.compare(failed(*rows(V1="failed")))
    again = replace(running, push_time=5000)
    assert watcher.compare(again, controller_now=8601) == [
        "job.reopened", "job.started", "appliance.failed", "job.overdue",
    ]  # fmt: skip


def test_a_changed_final_status_is_announced() -> None:
    """Another end at the same times is an end of its own."""
    assert seen(failed(*rows(V1="failed"))).compare(
        replace(failed(*rows(V1="succeeded")), status="Success")
    ) == ["job.succeeded"]


def test_an_unknown_status_stops_nothing() -> None:
    """It counts as open: pairs are announced meanwhile and the end when it comes."""
    watcher = seen(job("InProgress"))
    assert watcher.compare(job("Rolling back", *rows(V1="failed"))) == ["appliance.failed"]
    assert watcher.is_open()
    assert watcher.compare(failed(*rows(V1="failed"))) == ["job.failed"]


def test_a_rerun_is_one_also_behind_an_unknown_status() -> None:
    """A word that nobody knows between the end and the rerun hides neither."""
    watcher = seen(failed(*rows(V1="failed")))
    assert watcher.compare(failed(*rows(V1="failed"), status="Archiving")) == []
    assert watcher.compare(job("InProgress", *rows(V1="failed"))) == [
        "job.reopened", "job.started", "appliance.failed",
    ]  # fmt: skip
