"""Events, deliveries and failures made from changes: order, recoveries, and their recipients."""

from cmc_notify.core.events import EventType
from cmc_notify.core.model import Job, Outcome, Row
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Match, Route
from support.core_bridge import EVERYWHERE, Bridge, ended, rows, running

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
