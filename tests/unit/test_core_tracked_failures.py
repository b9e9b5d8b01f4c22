"""Test which failures stand open, since when, and what closes them."""

import pytest

from cmc_notify.core.diff import PollPolicy, compare
from cmc_notify.core.event_builder import EventBuilder
from cmc_notify.core.events import EventType
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import Job, JobState, Outcome, Row
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Match, Route
from support.core_bridge import EVERYWHERE, NAMES, Bridge, ended, rows, running


def test_at_the_same_time_the_greater_id_is_later() -> None:
    """The order is (time, id)."""
    for number, still_open in ((1, 1), (9, 0)):
        bridge = Bridge()
        bridge.poll(ended(5, "Failed", 200, *rows(V1="failed")))
        bridge.poll(ended(number, "Success", 200, *rows(V1="succeeded")))
        assert len(bridge.open) == still_open


def test_a_failure_that_is_seen_late_is_opened_and_recovered_at_once() -> None:
    """A later success is known already: both are announced, the recovery after the failure."""
    bridge = Bridge()
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    assert bridge.poll(ended(1, "Failed", 200, *rows(V1="failed"))) == [
        "1 job.failed",
        "2 appliance.recovered",
    ]
    assert bridge.open == []
    opening = bridge.sent(EventType.JOB_FAILED)["chat"].id
    assert bridge.sent(EventType.APPLIANCE_RECOVERED)["chat"].waits_for == (opening,)
    assert bridge.states["2-100"].revision == 2


def test_a_job_without_any_time_is_not_taken_for_an_early_one() -> None:
    """Nothing says that the known success came later, so its failure is not called recovered."""
    bridge = Bridge()
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    timeless = Job(id=1, status="Failed", rows=rows(V1="failed"))
    assert bridge.poll(timeless) == ["1 job.failed"]
    assert len(bridge.open) == 1


def test_a_success_within_the_same_job_recovers_whatever_the_times() -> None:
    """An appliance that failed and then succeeded while its job runs is well again."""
    bridge = Bridge()
    bridge.poll(running(1, 190, *rows(V1="failed")))
    assert bridge.poll(running(1, 190, *rows(V1="succeeded"))) == ["1 appliance.recovered"]
    assert bridge.open == []


def test_a_rerun_of_the_same_job_recovers() -> None:
    """Also where its times are unknown."""
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    again = Job(id=1, status="InProgress", creation_time=100, rows=rows(V1="succeeded"))
    assert bridge.poll(again) == ["1 job.reopened", "1 job.started", "1 appliance.recovered"]


def test_a_second_failure_of_a_pair_joins_the_open_failure() -> None:
    """It keeps its opener, follows the latest job, and each notified sink gets its recovery."""
    bridge = Bridge([Route(sinks=("chat",))])
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    bridge.routes = (Route(sinks=("mail",)),)
    bridge.poll(ended(2, "Failed", 300, *rows(V1="failed")))
    [incident] = bridge.open
    assert (incident.job_id, incident.last_job_uid, incident.failed_order) == (1, "2-100", (300, 2))
    bridge.poll(ended(3, "Success", 250, *rows(V1="succeeded")))
    assert len(bridge.open) == 1
    bridge.poll(ended(4, "Success", 400, *rows(V1="succeeded")))
    assert set(bridge.sent(EventType.APPLIANCE_RECOVERED)) == {"chat", "mail"}


def test_an_older_failure_seen_late_does_not_make_the_open_failure_older() -> None:
    """Only a push after the youngest failure ends it."""
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 300, *rows(V1="failed")))
    bridge.poll(ended(2, "Failed", 200, *rows(V1="failed")))
    [incident] = bridge.open
    assert incident.failed_order == (300, 1)
    assert incident.last_job_uid == "1-100"


def test_the_end_of_a_running_failure_moves_it_on() -> None:
    """A success between the start and the end of the job that failed the pair does not end the failure."""
    bridge = Bridge()
    bridge.poll(running(1, 190, *rows(V1="failed")))
    bridge.poll(ended(1, "Canceled", 400, *rows(V1="failed")))
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    assert len(bridge.open) == 1
    bridge.poll(ended(3, "Success", 401, *rows(V1="succeeded")))
    assert bridge.open == []


def test_a_final_failure_opens_anew_what_an_earlier_push_had_closed() -> None:
    """The job failed the pair after that push had succeeded, as its completion time says."""
    bridge = Bridge()
    bridge.poll(running(1, 190, *rows(V1="failed")))
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    assert bridge.open == []
    bridge.poll(ended(1, "Failed", 400, *rows(V1="failed")))
    assert [incident.job_id for incident in bridge.open] == [1]


def test_a_failure_closed_by_an_operator_is_not_opened_by_a_repeating_event() -> None:
    """The final event of the same run repeats the pair; a rerun that fails it is a new failure."""
    bridge = Bridge()
    bridge.poll(running(1, 190, *rows(V1="failed")))
    bridge.close_by_hand()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    assert bridge.open == []
    bridge.poll(ended(1, "Failed", 300, *rows(V1="failed")))
    assert [incident.opened_event for incident in bridge.open] == [bridge.events[-1].id]


def test_a_pair_without_serial_or_feature_belongs_to_its_job() -> None:
    """No other job's success can name it; the same job's can."""
    nameless = Row(None, 3, Outcome.FAILED, "no serial")
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, nameless))
    bridge.poll(ended(2, "Failed", 210, nameless))
    assert len(bridge.open) == 2
    bridge.poll(ended(3, "Success", 300, Row(None, 3, Outcome.SUCCEEDED)))
    assert len(bridge.open) == 2
    bridge.poll(ended(1, "Success", 400, Row(None, 3, Outcome.SUCCEEDED)))
    assert [incident.job_id for incident in bridge.open] == [2]


def test_a_job_that_was_not_announced_opens_no_failure() -> None:
    """A silent failure has no recovery either."""
    bridge = Bridge()
    [silent] = compare(
        None,
        ended(1, "Failed", 200, *rows(V1="failed")),
        uid="1-100",
        now=bridge.now,
        controller_now=bridge.now,
        policy=PollPolicy(first_run="none"),
    )
    assert bridge.announce({"1-100": [silent]}) == []
    assert bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded"))) == ["2 job.succeeded"]


@pytest.mark.parametrize("updates", [True, False])
def test_progress_reaches_only_sinks_that_update(*, updates: bool) -> None:
    """Only sinks that update messages get it; without such a sink it is not an event at all."""
    bridge = Bridge(chat=SinkProfile(updates_every=0.0 if updates else None))
    policy = PollPolicy(progress=True)
    state: JobState | None = None
    for outcome in ("pending", "running"):
        job = running(1, 150, *rows(V1=outcome))
        [change] = compare(state, job, uid="1-100", now=1, controller_now=1, policy=policy)
        state = change.state
        bridge.announce({"1-100": [change]})
    assert set(bridge.sent(EventType.JOB_PROGRESS)) == ({"chat"} if updates else set())


def test_the_controllers_own_events_have_their_own_subject() -> None:
    """Reason, since and no job."""
    bridge = Bridge()
    announcer = EventBuilder(
        "emea",
        now=bridge.now,
        names=NAMES,
        routes=EVERYWHERE,
        sinks=bridge.sinks,
        failures=FailureTracker("emea", ()),
    )
    announcer.add_controller_event(EventType.CONTROLLER_UNREACHABLE, reason="no answer", since=1_795_430_000)
    [event] = announcer.events
    assert (event.job, event.reason, event.since) == (None, "no answer", "2026-11-23T10:33:20Z")
    assert {delivery.ordering_key for delivery in announcer.deliveries} == {"controller:emea"}
    assert announcer.event_uids == {}


# --- ends that are no failure, with failed pairs ------------------------------------------------------------


@pytest.mark.parametrize("status", ["Success", "Canceled", "Failed"])
def test_any_end_opens_again_what_an_earlier_push_closed_meanwhile(status: str) -> None:
    """The failure was announced while the job ran; the job ends later than the success that closed it."""
    bridge = Bridge()
    bridge.poll(running(1, 150, *rows(V1="failed")))
    bridge.poll(ended(2, "Success", 200, *rows(V1="succeeded")))
    assert bridge.open == []
    bridge.poll(ended(1, status, 300, *rows(V1="failed"), push_time=150))
    assert [incident.serial for incident in bridge.open] == ["V1"]


def test_a_success_with_failed_pairs_is_routed_by_them() -> None:
    """A route by serial gets the end with its own pairs, and no other ends."""
    bridge = Bridge(
        routes=(
            Route(match=Match(serial=("V1",)), sinks=("chat",), proceed=True),
            Route(match=Match(feature=("SNMP",)), sinks=("mail",)),
        )
    )
    bridge.poll(ended(1, "Success", 300, *rows(V1="failed", V2="failed", V3="succeeded")))
    [end] = [event for event in bridge.events if event.type is EventType.JOB_SUCCEEDED]
    assert [(failure.serial, failure.new) for failure in end.failures] == [("V1", False), ("V2", False)]
    assert [(d.sink, d.shown) for d in bridge.deliveries if d.event_id == end.id] == [("chat", (0,))]
