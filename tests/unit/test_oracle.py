"""The oracle tells right from wrong: tiny histories, what they must give, and that each defect shows."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from cmc_notify.simulator import ABSENT, Quirks, Request, Row, SimulatedJob, Simulator
from support.oracle.expected_events import Expected, compare, expected
from support.oracle.observations import Pair

JOBS = "/api/cmc.configurator/1.0/jobs"
PAIR = ("V1", 3)


class Record:
    """A simulator whose requests are written by hand: no server, no bridge."""

    def __init__(self, quirks: Quirks | None = None) -> None:
        self.sim = Simulator("empty", speed=0, quirks=quirks)
        self.sim.clock.run()

    def poll(self, query: str = "", *, lost: bool = False) -> int:
        """A list request for all jobs that was answered now; returns its number."""
        looks = tuple((job.key, len(job.versions)) for job in self.sim.jobs)
        return self._request(f"{JOBS}{query}", 0 if lost else 200, looks)

    def ask(self, job_id: int) -> None:
        """A look-up by id that was answered now."""
        job = self.sim.jobs.get(job_id)
        looks = ((job.key, len(job.versions)),) if job else ()
        self._request(f"{JOBS}/items/{job_id}", 200 if job else 404, looks)

    def job(self, *rows: Row, **fields: Any) -> SimulatedJob:
        """A new job of feature 3."""
        return self.sim.jobs.add(rows=rows, feature_ids=[3], **fields)

    def failed(self, *rows: Row, at: int, **fields: Any) -> SimulatedJob:
        """A job that ended Failed at this virtual second after the start."""
        end = int(self.sim.clock.start) + at
        return self.job(*rows, status="Failed", push_time=end - 5, completion_time=end, **fields)

    def expected(self, **options: Any) -> list[Expected]:
        """What the oracle makes of it."""
        return expected(self.sim, **options)

    def types(self, **options: Any) -> list[str]:
        """The types of what is expected."""
        return [event.type for event in self.expected(**options)]

    def _request(self, target: str, status: int, looks: tuple[tuple[str, int], ...]) -> int:
        number = len(self.sim.requests) + 1
        entry = Request(number, "GET", target, self.sim.now, looks, status, complete=status != 0)
        self.sim.requests.append(entry)
        return number


def fails(serial: str | None = "V1", feature: int | None = 3) -> Row:
    """A row that failed."""
    return Row(serial, feature, "Completed", "Fail", "no route")


def succeeds(serial: str = "V1", feature: int = 3) -> Row:
    """A row that succeeded."""
    return Row(serial, feature, "Completed", "Success")


def told_pair(serial: str | None, feature: int | None = 3, *, new: bool) -> dict[str, Any]:
    """One item of a document's failures."""
    return {"serial": serial, "feature_id": feature, "new": new}


def documents(events: Sequence[Expected]) -> list[dict[str, Any]]:
    """The event documents of a bridge that is right."""
    result = []
    for event in events:
        created = event.job[1]
        told = None if created is None else datetime.fromtimestamp(created, UTC).isoformat()
        pairs = event.failed if event.failed is not None else event.new
        failures = [
            told_pair(serial, feature, new=(serial, feature) in event.new) for serial, feature in pairs
        ]
        recoveries = [
            {"serial": serial, "feature_id": feature, "failed_job_id": job}
            for serial, feature, job in event.recovered
        ]
        job = {"id": event.job[0], "created": told, "details_pending": False}
        result.append({"type": event.type, "job": job, "failures": failures, "recoveries": recoveries})
    return result


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
