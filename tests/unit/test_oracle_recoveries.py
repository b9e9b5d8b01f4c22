"""Test the oracle: recoveries, first runs, repeated failures, doubtful requests."""

from typing import Any

import pytest

from cmc_notify.simulator import ABSENT, Quirks, Row
from support.oracle.expected_events import compare
from support.oracle.recorded_polls import Record, documents, fails

PAIR = ("V1", 3)


def succeeds(serial: str = "V1", feature: int = 3) -> Row:
    """A row that succeeded."""
    return Row(serial, feature, "Completed", "Success")


def test_a_later_success_ends_an_earlier_failure_only() -> None:
    """Success closes what failed before it by completion time, however late either is seen."""
    record = Record()
    record.failed(fails(), at=100)
    earlier = record.job(succeeds(), status="Success", completion_time=1_795_430_050)
    record.poll()
    assert record.types() == ["job.succeeded", "job.failed"]
    earlier.set(completion_time=1_795_430_200)
    record.poll()
    assert record.types()[2:] == ["job.reopened", "appliance.recovered", "job.succeeded"]


def test_a_failure_seen_after_its_recovery_is_opened_and_recovered() -> None:
    """A success that is known and later ends a failure as soon as that is told."""
    record = Record()
    record.job(succeeds(), status="Success", completion_time=1_795_430_900)
    record.poll()
    record.failed(fails(), at=100)
    record.poll()
    (recovery,) = [event for event in record.expected() if event.type == "appliance.recovered"]
    assert recovery.recovered == {(*PAIR, 4102)}


def test_pairs_without_names_recover_within_their_job_only() -> None:
    """Another job can't speak of a pair that lacks serial or feature."""
    record = Record()
    job = record.failed(fails(None, 3), at=0)
    record.job(Row(None, 3, "Completed", "Success"), status="Success", completion_time=1_795_430_900)
    record.poll()
    late = record.failed(fails(None, 3), at=10)
    record.poll()
    assert "appliance.recovered" not in record.types()
    late.purge()
    job.set_row(None, 3, "Success")
    record.poll()
    (recovery,) = [event for event in record.expected() if event.type == "appliance.recovered"]
    assert recovery.recovered == {(None, 3, 4101)}


def test_a_reused_id_is_another_job() -> None:
    """Two jobs share an id where both creation times are known and differ."""
    record = Record()
    record.job(job_id=5, status="Success", creation_time=100)
    record.job(job_id=5, status="Success", creation_time=900)
    record.poll()
    assert sorted(event.job for event in record.expected()) == [(5, 100), (5, 900)]


def test_an_open_job_that_is_gone_has_vanished_once() -> None:
    """A 404 for an open job is told once, for a finished one never."""
    record = Record()
    job, done = record.job(), record.job(status="Success")
    record.poll()
    job.purge()
    done.purge()
    for _ in range(2):
        record.poll()
        record.ask(job.id)
        record.ask(done.id)
    assert record.types() == ["job.queued", "job.succeeded", "job.vanished"]


def test_first_run_rules() -> None:
    """First run: none is silent, open tells open jobs, all finished ones too; silence opens nothing."""
    record = Record()
    record.failed(fails(), at=0)
    running = record.job(fails("V2"), status="InProgress")
    record.poll()
    record.sim.advance(100)
    record.job(succeeds(), succeeds("V2"), status="Success", completion_time=1_795_430_050)
    running.finish("Failed")
    record.poll()
    assert record.types(first_run="none") == ["job.succeeded", "job.failed"]
    assert record.types(first_run="open") == [
        "job.started", "appliance.failed", "appliance.recovered", "job.succeeded", "job.failed",
    ]  # fmt: skip
    assert record.types(first_run="all")[0] == "job.failed"
    with pytest.raises(ValueError, match="none, open and all"):
        record.expected(first_run="24h")


def test_what_the_first_run_passed_over_is_new_in_job_failed_only() -> None:
    """A pair recorded silently is no news while it stays failed; a job.failed marks it new."""
    record = Record()
    job = record.job(fails("V1"), fails("V2"), status="InProgress")
    record.poll()
    job.set_row("V3", 3, "Fail", "no route")
    job.set_row("V2", 3)
    record.poll()
    job.set_row("V2", 3, "Fail", "again")
    record.poll()
    job.finish("Failed")
    record.poll()
    told = [event.new for event in record.expected(first_run="none")]
    assert told == [{("V3", 3)}, {("V2", 3)}, {("V1", 3)}]


def test_a_second_failed_end_tells_its_pairs_anew() -> None:
    """Ended again at another time with the same failed row, the row is new: it is another run."""
    record = Record()
    job = record.failed(fails(), at=0)
    record.poll()
    job.set(completion_time=1_795_430_500)
    record.poll()
    assert [event.new for event in record.expected()] == [{PAIR}, set(), {PAIR}]


def test_an_incident_belongs_to_the_job_that_failed_last() -> None:
    """A success between two failures does not end what the later one left failed; one after both does."""
    record = Record()
    record.failed(fails(), at=100)
    record.poll()
    record.failed(fails(), at=300)
    record.poll()
    record.job(succeeds(), status="Success", completion_time=1_795_430_200)
    record.poll()
    assert "appliance.recovered" not in record.types()
    record.job(succeeds(), status="Success", completion_time=1_795_430_400)
    record.poll()
    (recovery,) = [event for event in record.expected() if event.type == "appliance.recovered"]
    assert recovery.recovered == {(*PAIR, 4101)}


def test_a_final_list_opens_again_what_was_closed_while_the_job_ran() -> None:
    """Recovered by a push during the job, the pair is failed again once the job ends later with it."""
    record = Record()
    job = record.job(fails(), status="InProgress", push_time=1_795_430_000)
    record.poll()
    record.job(succeeds(), status="Success", completion_time=1_795_430_100)
    record.poll()
    record.sim.advance(200)
    job.finish("Failed")
    record.poll()
    record.job(succeeds(), status="Success", completion_time=1_795_430_300)
    record.poll()
    recoveries = [event.recovered for event in record.expected() if event.type == "appliance.recovered"]
    assert recoveries == [{(*PAIR, 4101)}] * 2


def test_nameless_pairs_of_two_jobs_are_two_incidents() -> None:
    """What lacks a name is not confused between jobs."""
    record = Record()
    first, second = record.failed(fails(None), at=0), record.failed(fails(None), at=10)
    record.poll()
    for job in (first, second):
        job.set_row(None, 3, "Success")
    record.poll()
    whole = {recovery for event in record.expected() for recovery in event.recovered}
    assert whole == {(None, 3, 4101), (None, 3, 4102)}


def test_a_repeated_row_that_failed_outweighs_a_success() -> None:
    """Where rows repeat a pair, it is failed if any of them is."""
    record = Record()
    record.job(fails(), succeeds(), status="InProgress")
    record.poll()
    assert record.types() == ["job.started", "appliance.failed"]


def test_a_full_list_begins_a_poll() -> None:
    """The poll before a lost one is not in doubt where the lost one began with the full list."""
    record = Record()
    job = record.job()
    record.poll("?job_status=Queued")
    job.start()
    record.poll()
    job.finish("Canceled")
    record.poll("?job_status=Queued", lost=True)
    record.poll()
    assert [event.type for event in record.expected() if event.optional] == ["job.started"]


def test_a_creation_time_that_comes_late_makes_no_other_job() -> None:
    """An id names another job only where both creation times are known."""
    record = Record()
    job = record.job(creation_time=None)
    record.poll()
    job.set(creation_time=500)
    record.poll()
    assert record.types() == ["job.queued"]


def test_a_lost_poll_makes_its_looks_optional() -> None:
    """What only a poll with a failed list saw may be told or not; what a later poll saw must be."""
    record = Record()
    job = record.job(Row("V1", 3))
    record.poll("?job_status=Queued")
    record.poll("?job_status=InProgress", lost=True)
    job.start()
    job.set_row("V1", 3, "Fail", "no route")
    job.finish("Failed")
    record.poll("?job_status=Queued")
    events = record.expected()
    sure = [event for event in events if not event.optional]
    assert compare(events, documents(events)) == []
    assert compare(events, documents(sure)) == []
    assert {event.type for event in events} - {event.type for event in sure} == {"job.queued"}
    assert compare(events, documents([event for event in sure if event.type != "job.failed"])) != []


def test_a_doubtful_request_is_optional() -> None:
    """A poll that the bridge may not have committed is allowed to leave no trace."""
    record = Record()
    job = record.job()
    record.poll()
    number = record.poll("?job_status=InProgress")
    job.start()
    record.poll()
    events = record.expected(doubtful=[number])
    assert [event.type for event in events if event.optional] == ["job.queued"]


@pytest.mark.parametrize(
    "overrides",
    [
        {"id": "x", "idx": None},
        {"id": ABSENT, "idx": ABSENT},
        {"detailed_status": "none"},
        {"detailed_status": [3]},
        {"job_status": 4},
    ],
)
def test_malformed_jobs_give_nothing(overrides: dict[str, Any]) -> None:
    """Nothing is expected of an item that no reader can take for a job; its neighbours count."""
    record = Record(Quirks(spelling="upper", missing="null"))
    record.job(status="Failed", overrides=overrides)
    record.sim.jobs.add_raw(b"null")
    record.job(status="Canceled", overrides={"id": ABSENT, "job_status": "Cancelled"})
    record.poll()
    assert record.types() == ["job.canceled"]
