"""The oracle tells right from wrong: tiny histories, what they must give, and that each defect shows."""

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from cmc_notify.simulator import Row
from support.oracle.expected_events import compare
from support.oracle.observations import Pair
from support.oracle.recorded_polls import Record, documents, fails, told_pair


def night() -> Record:
    """A job that fails in part while it runs, and a second job that mends it."""
    record = Record()
    first = record.job(Row("V1", 3), Row("V2", 3))
    record.poll()
    first.start()
    first.set_row("V1", 3, "Fail", "no route")
    record.poll()
    record.sim.advance(60)
    with first.change():
        first.set_row("V2", 3, "Fail", "no route")
        first.finish("Failed")
    record.poll()
    record.sim.advance(60)
    second = record.job(Row("V1", 3))
    with second.change():
        second.start()
        second.set_row("V1", 3, "Success")
        second.finish("Success")
    record.poll()
    return record


def test_a_whole_story() -> None:
    """Each look gives what the contract says, in the order of one poll."""
    events = night().expected()
    assert [event.type for event in events] == [
        "job.queued",
        "job.started",
        "appliance.failed",
        "job.failed",
        "appliance.recovered",
        "job.succeeded",
    ]
    failed = events[3]
    assert failed.new == {("V2", 3)}
    assert failed.failed == frozenset[Pair]({("V1", 3), ("V2", 3)})
    assert events[4].recovered == {("V1", 3, 4101)}
    assert compare(events, documents(events)) == []


@pytest.mark.parametrize("place", range(6))
def test_a_missing_and_a_doubled_event_are_found(place: int) -> None:
    """Whichever event is left out or told twice, the comparison says so."""
    events = night().expected()
    told = documents(events)
    lacking = compare(events, told[:place] + told[place + 1 :])
    assert lacking
    assert "missing" in lacking[0]
    doubled = compare(events, [*told, deepcopy(told[place])])
    assert doubled
    assert "doubled" in doubled[0]


@pytest.mark.parametrize(
    "document",
    [
        {"type": "job.reopened", "failures": [], "recoveries": []},
        {"type": "appliance.failed", "failures": [told_pair("V9", new=True)], "recoveries": []},
        {"type": "appliance.failed", "failures": [], "recoveries": []},
        {"type": "appliance.failed", "failures": [told_pair("V1", new=False)], "recoveries": []},
        {
            "type": "appliance.recovered",
            "failures": [],
            "recoveries": [{"serial": "V2", "feature_id": 3, "failed_job_id": 4101}],
        },
    ],
)
@pytest.mark.parametrize("job_id", [4101, 77])
def test_an_invented_event_is_found(document: Mapping[str, Any], job_id: int) -> None:
    """What nothing called for is reported, of a known job or of one that never was."""
    record = night()
    job = {"id": job_id, "created": "2026-11-23T00:00:00Z", "details_pending": False}
    if job_id == 4101:
        job["created"] = datetime.fromtimestamp(record.sim.clock.start, UTC).isoformat()
    events = record.expected()
    assert compare(events, [*documents(events), {**document, "job": job}])


def test_a_wrong_list_or_a_wrong_mark_in_job_failed_is_found() -> None:
    """job.failed holds every failed pair, and marks those new that were not told before."""
    events = night().expected()
    told = documents(events)
    told[3]["failures"] = [item for item in told[3]["failures"] if item["new"]]
    assert "lacks V1/3" in compare(events, told)[0]
    told = documents(events)
    for item in told[3]["failures"]:
        item["new"] = True
    assert "doubled" in compare(events, told)[0]


def test_a_wrong_order_is_found() -> None:
    """The events of one job come in the order in which it went through them."""
    events = night().expected()
    told = documents(events)
    told[0], told[1] = told[1], told[0]
    assert "order" in compare(events, told)[0]


def test_an_unchanged_job_gives_nothing_more() -> None:
    """However often a version is served, it tells nothing new."""
    record = Record()
    record.failed(fails(), at=0)
    for _ in range(3):
        record.poll()
    assert record.types() == ["job.failed"]


def test_unserved_states_are_never_expected() -> None:
    """A job that was created and finished between two polls gives its final event only."""
    record = Record()
    job = record.job()
    job.start()
    job.finish("Canceled")
    record.poll()
    assert record.types() == ["job.canceled"]


def test_a_rerun_tells_again() -> None:
    """A job seen running after its end, or ended at another time, is reopened and told anew."""
    record = Record()
    job = record.failed(fails(), at=0)
    record.poll()
    record.sim.advance(50)
    job.rerun()
    record.poll()
    job.set_row("V1", 3, "Fail", "again")
    job.finish("Failed")
    record.poll()
    assert record.types() == ["job.failed", "job.reopened", "job.started", "job.failed"]
    record.sim.advance(50)
    with job.change():
        job.set_row("V1", 3, "Success")
        job.finish("Success")
    record.poll()
    assert record.types()[4:] == ["job.reopened", "appliance.recovered", "job.succeeded"]


def test_a_time_that_is_filled_in_is_no_rerun() -> None:
    """A completion time that comes late changes nothing."""
    record = Record()
    job = record.job(status="Success")
    record.poll()
    job.set(completion_time=1_795_430_100)
    record.poll()
    assert record.types() == ["job.succeeded"]


def test_reopened_to_queued_is_told_as_reopened_only() -> None:
    """Queued is told at first sight only."""
    record = Record()
    job = record.job(status="Success", completion_time=1_795_430_000)
    record.poll()
    job.rerun("Queued")
    record.poll()
    assert record.types() == ["job.succeeded", "job.reopened"]


def test_another_end_at_the_same_times_is_one_more_final_event() -> None:
    """A finished job that changes its status alone gives the final event of the new one."""
    record = Record()
    job = record.job(status="Success", completion_time=1_795_430_000)
    record.poll()
    job.set(status="Canceled")
    record.poll()
    assert record.types() == ["job.succeeded", "job.canceled"]


def test_late_failures_are_told_after_the_final_event() -> None:
    """Rows that fail after the end travel in appliance.failed, also where the job is a success."""
    record = Record()
    job = record.job(fails(), status="Success", completion_time=1_795_430_000)
    record.poll()
    job.set_row("V2", 3, "Fail", "late")
    record.poll()
    assert record.types() == ["appliance.failed", "job.succeeded", "appliance.failed"]


def test_a_pair_that_fails_again_is_told_again() -> None:
    """Seen not failed in between, a pair is new once more."""
    record = Record()
    job = record.job(fails(), status="InProgress")
    record.poll()
    job.set_row("V1", 3)
    record.poll()
    job.set_row("V1", 3, "Fail", "no route")
    record.poll()
    assert record.types() == ["job.started", "appliance.failed", "appliance.failed"]


def test_settling_is_lenient_about_timing_only() -> None:
    """While details are awaited, the pairs may travel early or late, but each of them once."""
    record = Record()
    job = record.failed(Row("V1", 3), fails("V2"), at=0)
    record.poll()
    job.set_row("V1", 3, "Fail", "late")
    record.poll()
    events = record.expected()
    base = {"id": 4101, "created": datetime.fromtimestamp(record.sim.clock.start, UTC).isoformat()}
    one, two = told_pair("V1", new=True), told_pair("V2", new=True)

    def told(pending: bool, *failures: Mapping[str, Any]) -> dict[str, Any]:
        job = {**base, "details_pending": pending}
        return {"type": "job.failed", "job": job, "failures": list(failures), "recoveries": []}

    late = {**told(False, one), "type": "appliance.failed"}
    assert compare(events, [told(False, one, two)]) == []
    assert compare(events, [told(True, two), late]) == []
    assert compare(events, [told(False, two), late]) != []
    assert compare(events, [told(True, two)]) != []
    assert compare(events, [told(True, one, two), late]) != []
    at_once = record.expected(settle=0)
    assert [event.type for event in at_once] == ["job.failed", "appliance.failed"]
