"""Events, deliveries and failures made from changes: order, recoveries, and their recipients."""

import pytest

from cmc_notify.core.diff import PollPolicy, compare
from cmc_notify.core.event_builder import EventBuilder
from cmc_notify.core.events import EventType
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import Job, JobState, Outcome, Row
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Match, Route
from support.core_bridge import EVERYWHERE, NAMES, Bridge, ended, rows, running

# --- order ------------------------------------------------------------------------------------------------


def test_one_jobs_events_come_in_the_contracts_order() -> None:
    """Reopened, queued or started, appliance.failed, appliance.recovered, then the final one."""
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    assert bridge.poll(ended(1, "Success", 300, *rows(V1="succeeded", V2="failed"))) == [
        "1 job.reopened", "1 appliance.failed", "1 appliance.recovered", "1 job.succeeded",
    ]  # fmt: skip
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    assert bridge.poll(running(2, 300, *rows(V1="succeeded", V2="failed"))) == [
        "2 job.started", "2 appliance.failed", "2 appliance.recovered",
    ]  # fmt: skip


def test_jobs_caught_up_together_are_announced_in_their_order() -> None:
    """By completion, else push, else creation time, whatever the order of the list."""
    failed, success = (
        ended(5, "Failed", 200, *rows(V1="failed")),
        ended(2, "Success", 300, *rows(V1="succeeded")),
    )
    expected = ["5 job.failed", "2 appliance.recovered", "2 job.succeeded"]
    for jobs in ((failed, success), (success, failed)):
        bridge = Bridge()
        assert bridge.poll(*jobs) == expected
        assert bridge.open == []


def test_an_end_and_the_rerun_after_it_keep_their_order() -> None:
    """A success between them is announced between them, so a failure that it ended stays ended."""
    bridge = Bridge()
    first = ended(1, "Failed", 200, *rows(V1="failed"))
    again = running(1, 400)
    success = ended(2, "Success", 300, *rows(V1="succeeded"))
    assert bridge.poll(first, again, success) == [
        "1 job.failed", "2 appliance.recovered", "2 job.succeeded", "1 job.reopened", "1 job.started",
    ]  # fmt: skip
    assert bridge.open == []


def test_a_rerun_stays_behind_the_end_before_it() -> None:
    """Queued again, a job has only its creation time, and is not announced before its own end."""
    queued = Job(id=1, status="Queued", creation_time=100)
    assert Bridge().poll(ended(1, "Failed", 200, *rows(V1="failed")), queued) == [
        "1 job.failed",
        "1 job.reopened",
    ]


def test_event_ids_sort_in_the_order_of_the_events() -> None:
    """Within a poll and from poll to poll, each one once."""
    bridge, ids = Bridge(), []
    for job in (running(1, 150, *rows(V1="failed")), ended(1, "Failed", 200, *rows(V1="failed"))):
        bridge.poll(job, ended(2, "Success", 210, *rows(V1="succeeded")))
        ids += [event.id for event in bridge.events]
    assert len(ids) > 3
    assert ids == sorted(set(ids))
    assert all(len(each) == 30 for each in ids)


# --- the event itself -------------------------------------------------------------------------------------


def test_a_final_failure_holds_every_pair_with_its_text_and_marks_the_new_ones() -> None:
    """Names, texts, and the mark of the first event with them."""
    bridge = Bridge()
    bridge.poll(running(1, 190, *rows(V1="failed", V2="running")))
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed", V2="failed"), error_text="and before"))
    [event] = bridge.events
    assert event.job
    assert event.job.error_text == "and before"
    assert event.severity == "error"
    told = [(f.serial, f.appliance, f.feature, f.error_text, f.new) for f in event.failures]
    assert told == [
        ("V1", "paris-edge-1", "QoS", "V1 broke", False),
        ("V2", None, "QoS", "V2 broke", True),
    ]  # fmt: skip


def test_rows_that_repeat_a_pair_are_one_failure_with_all_their_texts() -> None:
    """A failure outweighs a success of the same pair."""
    details = [Row("V1", 3, Outcome.FAILED, text) for text in ("one", "two", "one")]
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, Row("V1", 3, Outcome.SUCCEEDED), *details))
    assert [failure.error_text for failure in bridge.events[0].failures] == ["one\ntwo"]


def test_a_delivery_for_each_sink_and_a_record_for_what_nobody_gets() -> None:
    """Keys are made of event and sink and hold no dot; the deadline is the sink's own."""
    bridge = Bridge(mail=SinkProfile(deadline=60))
    bridge.poll(ended(1, "Success", 200))
    sent = bridge.sent(EventType.JOB_SUCCEEDED)
    assert set(sent) == {"chat", "mail"}
    assert sent["mail"].deadline_at == bridge.now + 60
    assert len({delivery.id for delivery in sent.values()}) == 2
    assert not any("." in delivery.id for delivery in sent.values())
    assert {delivery.ordering_key for delivery in sent.values()} == {"job:emea:1-100"}
    nobody = Bridge(routes=())
    nobody.poll(ended(1, "Success", 200))
    assert [delivery.sink for delivery in nobody.deliveries] == [""]


# --- incidents and recoveries -----------------------------------------------------------------------------


def test_a_later_success_recovers_an_announced_failure() -> None:
    """The recovery names the pair, since when, and the job that opened it, and waits for the failure."""
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    opening, [incident] = bridge.sent(EventType.JOB_FAILED), bridge.open
    assert bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded"))) == [
        "2 appliance.recovered", "2 job.succeeded",
    ]  # fmt: skip
    [recovery] = bridge.events[0].recoveries
    assert (recovery.serial, recovery.appliance, recovery.feature, recovery.failed_job_id) == (
        "V1", "paris-edge-1", "QoS", 1,
    )  # fmt: skip
    closed = bridge.incidents[incident.id]
    assert (closed.closed_by, closed.closed_at) == ("job 2", bridge.now)
    for sink, delivery in bridge.sent(EventType.APPLIANCE_RECOVERED).items():
        assert delivery.waits_for == (opening[sink].id,)


def test_a_recovery_waits_for_each_delivery_of_its_failure() -> None:
    """appliance.failed while it ran and the job.failed at the end."""
    bridge = Bridge()
    bridge.poll(running(1, 190, *rows(V1="failed")))
    first = bridge.sent(EventType.APPLIANCE_FAILED)["chat"].id
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    second = bridge.sent(EventType.JOB_FAILED)["chat"].id
    assert len(bridge.open) == 1
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    assert bridge.sent(EventType.APPLIANCE_RECOVERED)["chat"].waits_for == (first, second)


def test_recovery_follows_the_opening_and_goes_nowhere_else() -> None:
    """Each sink gets the pairs that it was notified of, whatever the routes are now."""
    bridge = Bridge(
        [Route(match=Match(serial=("V1",)), sinks=("chat",), proceed=True), Route(sinks=("mail",))]
    )
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed", V2="failed")))
    bridge.routes = (Route(match=Match(event=("appliance.recovered",)), sinks=("other",)),)
    bridge.sinks["other"] = SinkProfile()
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded", V2="succeeded")))
    sent = bridge.sent(EventType.APPLIANCE_RECOVERED)
    serials = [recovery.serial for recovery in bridge.events[0].recoveries]
    assert set(sent) == {"chat", "mail"}
    assert sent["mail"].shown is None
    assert [serials[index] for index in sent["chat"].shown or ()] == ["V1"]


def test_a_sink_that_wants_no_recoveries_gets_none() -> None:
    """send_resolved: false turns them off for that sink alone."""
    bridge = Bridge(mail=SinkProfile(send_resolved=False))
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    assert set(bridge.sent(EventType.APPLIANCE_RECOVERED)) == {"chat"}
    assert bridge.open == []


def test_a_failure_that_matched_no_route_recovers_in_the_ledger_alone() -> None:
    """No sink was notified of it, so no sink is notified of its end."""
    bridge = Bridge(routes=())
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    bridge.routes = EVERYWHERE
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    assert set(bridge.sent(EventType.APPLIANCE_RECOVERED)) == {""}


def test_an_earlier_success_ends_nothing() -> None:
    """Only a push later than the failure."""
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    assert bridge.poll(ended(2, "Success", 199, *rows(V1="succeeded"))) == ["2 job.succeeded"]
    assert len(bridge.open) == 1


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
