"""The deliveries to ticketing systems, and to messages that are updated in place."""

from collections.abc import Sequence

import pytest

from cmc_notify.core.delivery import NewDelivery, Purpose
from cmc_notify.core.diff import PollPolicy
from cmc_notify.core.event_builder import EventBuilder
from cmc_notify.core.events import EventType
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import Job
from cmc_notify.core.recipients import SinkProfile, status_recipients
from cmc_notify.core.routing import Match, Route
from cmc_notify.core.silences import Silence
from support.core_bridge import NAMES, Bridge, ended, rows, running

DESK = SinkProfile(tickets=True)
PER_JOB = (Route(sinks=("desk",)),)
PER_FAILURE = (Route(sinks=("desk",), per_failure=True, max_per_job=3),)
V1, V2, V3 = (f"failure:emea:{serial}:3" for serial in ("V1", "V2", "V3"))


def told(bridge: Bridge, sink: str = "desk") -> list[str]:
    """Return the last poll's deliveries to one sink: purpose and subject."""
    return [f"{each.purpose} {each.subject}" for each in bridge.deliveries if each.sink == sink]


def desk(routes: Sequence[Route], rule: SinkProfile = DESK) -> Bridge:
    """Return a bridge with one ticketing system."""
    return Bridge(routes, desk=rule)


# --- a ticket for each job --------------------------------------------------------------------------------


def test_a_jobs_ticket_is_closed_once_all_its_pairs_have_recovered() -> None:
    """Whichever jobs repair them; while some are left the ticket is only brought up to date."""
    bridge = desk(PER_JOB)
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed", V2="failed", V3="succeeded")))
    assert told(bridge) == ["notify job:emea:1-100"]
    [opening] = bridge.deliveries
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    assert told(bridge) == ["follow job:emea:1-100"]
    bridge.poll(ended(3, "Success", 400, *rows(V2="succeeded")))
    assert told(bridge) == ["close job:emea:1-100"]
    [closing] = [each for each in bridge.deliveries if each.sink]
    assert closing.waits_for == (opening.id,)


def test_only_what_opens_changes_or_closes_a_ticket_is_sent() -> None:
    """A ticketing system gets nothing about jobs that start, go on or succeed."""
    bridge = desk(PER_JOB)
    for job in (running(1, 150, *rows(V1="running")), ended(1, "Success", 200, *rows(V1="succeeded"))):
        bridge.poll(job)
        assert told(bridge) == []


def test_one_pair_can_stand_in_the_tickets_of_several_jobs() -> None:
    """Its recovery closes both."""
    bridge = desk(PER_JOB)
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    bridge.poll(ended(2, "Failed", 300, *rows(V1="failed")))
    assert told(bridge) == ["notify job:emea:2-100"]
    bridge.poll(ended(3, "Success", 400, *rows(V1="succeeded")))
    assert told(bridge) == ["close job:emea:1-100", "close job:emea:2-100"]


def test_what_fails_again_opens_the_same_ticket_again() -> None:
    """A rerun that fails after a recovery has the ticket's old subject."""
    bridge = desk(PER_JOB)
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded")))
    bridge.poll(ended(1, "Failed", 400, *rows(V1="failed")))
    assert told(bridge) == ["notify job:emea:1-100"]
    bridge.poll(ended(1, "Success", 500, *rows(V1="succeeded")))
    assert told(bridge) == ["close job:emea:1-100"]


def test_a_rerun_with_success_closes_the_ticket_also_where_it_has_no_pair() -> None:
    """The job is done, whatever became of appliances that are not in it any more."""
    bridge = desk(PER_JOB)
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    bridge.poll(ended(1, "Success", 300))
    assert told(bridge) == ["close job:emea:1-100"]
    bridge.poll(ended(1, "Success", 400))
    assert told(bridge) == []


def test_a_success_that_leaves_pairs_failed_closes_nothing() -> None:
    """The ticket that its own failures opened stays open."""
    bridge = desk(PER_JOB)
    bridge.poll(ended(1, "Success", 200, *rows(V1="failed", V2="succeeded")))
    assert told(bridge) == ["notify job:emea:1-100"]


def test_a_sink_that_wants_no_resolves_gets_none() -> None:
    """``send_resolved: false``."""
    bridge = desk(PER_JOB, SinkProfile(tickets=True, send_resolved=False))
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    bridge.poll(ended(1, "Success", 300, *rows(V1="succeeded")))
    assert told(bridge) == []


# --- a push that never began ------------------------------------------------------------------------------


def refused(number: int, at: int, **targets: object) -> Job:
    """A job that failed before it reached any appliance."""
    return ended(number, "Failed", at, error_text="locked", **targets)


SITE = {"site_ids": (7,), "feature_ids": (3,)}


def test_a_later_push_of_the_same_scope_ends_a_push_that_never_began() -> None:
    """Same targets and features, in any order; a push of anything else, or an earlier one, does not."""
    bridge = desk(PER_JOB)
    bridge.poll(refused(1, 200, site_ids=(7, 8), feature_ids=(3, 5)))
    [opening] = bridge.deliveries
    assert told(bridge) == ["notify job:emea:1-100"]
    for other in (
        ended(2, "Success", 300, site_ids=(7,), feature_ids=(3, 5)),
        ended(3, "Success", 300, site_ids=(7, 8), feature_ids=(3,)),
        ended(4, "Success", 150, site_ids=(7, 8), feature_ids=(3, 5)),
    ):
        bridge.poll(other)
        assert told(bridge) == []
    bridge.poll(ended(5, "Success", 400, site_ids=(8, 7), feature_ids=(5, 3)))
    assert told(bridge) == ["close job:emea:1-100"]
    [closing] = [each for each in bridge.deliveries if each.sink]
    assert closing.waits_for == (opening.id,)
    assert bridge.open == []


def test_its_own_rerun_ends_it_too() -> None:
    """Once, though both the job and its scope say so."""
    bridge = desk(PER_JOB)
    bridge.poll(refused(1, 200, **SITE))
    bridge.poll(ended(1, "Success", 300, *rows(V1="succeeded"), **SITE))
    assert told(bridge) == ["close job:emea:1-100"]


def test_without_tickets_there_is_nothing_to_remember_of_it() -> None:
    """No open failure stands in the list for ever where nobody has a ticket to close."""
    bridge = Bridge()
    bridge.poll(refused(1, 200, **SITE))
    assert bridge.open == []


def test_a_ticket_sink_that_is_notified_later_is_notified_of_the_end_too() -> None:
    """A route is added before the job is run again, in vain."""
    bridge = Bridge(PER_JOB, desk=DESK, other=DESK)
    bridge.poll(refused(1, 200, **SITE))
    bridge.routes = (Route(sinks=("desk", "other")),)
    bridge.poll(refused(1, 300, **SITE))
    bridge.poll(ended(2, "Success", 400, *rows(V1="succeeded"), **SITE))
    assert (told(bridge), told(bridge, "other")) == (["close job:emea:1-100"], ["close job:emea:1-100"])


def test_a_jobs_own_error_beside_silenced_failures_ends_with_a_push_of_its_scope() -> None:
    """Its ticket shows no pair, so the end of no pair can close it."""
    bridge = desk(PER_JOB)
    bridge.silences = [
        Silence(id="s1", serials=("V1",), starts_at=0, ends_at=1e12, created_by="Anna", created_at=0)
    ]
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed"), error_text="locked", **SITE))
    assert told(bridge) == ["notify job:emea:1-100"]
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded"), **SITE))
    assert told(bridge) == ["close job:emea:1-100"]
    assert bridge.open == []


# --- a ticket for each incident ---------------------------------------------------------------------------


def test_each_failure_has_a_ticket_that_any_job_changes_and_closes() -> None:
    """The final event repeats nothing; another job that fails the pair changes the same ticket."""
    bridge = desk(PER_FAILURE)
    bridge.poll(running(1, 150, *rows(V1="failed", V2="running")))
    assert told(bridge) == [f"notify {V1}"]
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed", V2="failed")))
    assert told(bridge) == [f"notify {V2}"]
    assert bridge.deliveries[0].shown == (1,)
    bridge.poll(ended(2, "Failed", 300, *rows(V1="failed")))
    assert told(bridge) == [f"notify {V1}"]
    bridge.poll(ended(3, "Success", 400, *rows(V1="succeeded", V2="succeeded")))
    assert told(bridge) == [f"close {V1}", f"close {V2}"]
    assert [each.shown for each in bridge.deliveries if each.sink] == [(0,), (1,)]
    assert len({each.id for each in bridge.deliveries}) == len(bridge.deliveries)


def test_more_failures_than_the_most_share_the_jobs_ticket() -> None:
    """A failure that had a ticket before keeps it."""
    bridge = desk(PER_FAILURE)
    bridge.poll(running(1, 150, *rows(V1="failed")))
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed", V2="failed", V3="failed", V4="failed")))
    assert told(bridge) == ["notify job:emea:1-100"]
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded", V2="succeeded", V3="succeeded")))
    assert told(bridge) == [f"close {V1}", "follow job:emea:1-100"]
    bridge.poll(ended(3, "Success", 400, *rows(V4="succeeded")))
    assert told(bridge) == ["close job:emea:1-100"]


def test_the_first_route_that_matches_says_what_a_ticket_is_about() -> None:
    """And what a route does not show has no ticket."""
    bridge = desk((Route(sinks=("desk",), per_failure=True, match=Match(serial=("V1",))),))
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed", V2="failed")))
    assert told(bridge) == [f"notify {V1}"]


def test_chat_is_notified_of_the_job_whatever_a_ticket_is_about() -> None:
    """``per`` is about tickets only."""
    bridge = Bridge((Route(sinks=("chat", "desk"), per_failure=True),), desk=DESK)
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed", V2="failed")))
    assert told(bridge, "chat") == ["notify job:emea:1-100"]
    assert told(bridge) == [f"notify {V1}", f"notify {V2}"]


def test_a_serial_number_without_end_still_makes_a_subject_that_can_be_indexed() -> None:
    """The controller may send any serial; different ones stay different."""
    bridge = desk(PER_FAILURE)
    bridge.poll(ended(1, "Failed", 200, *rows(**{"V" * 5000: "failed", "V" * 5001: "failed"})))
    subjects = {each.subject for each in bridge.deliveries}
    assert len(subjects) == 2
    assert all(len(subject) < 150 for subject in subjects)


# --- controllers and sinks --------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [EventType.CONTROLLER_UNREACHABLE, EventType.CONTROLLER_UNAUTHORIZED])
def test_a_controllers_return_closes_what_its_loss_opened(begun: EventType) -> None:
    """Also where no route asks for the return."""
    routes = (Route(sinks=("desk",), match=Match(event=(begun,))),)

    def tell(kind: EventType) -> list[NewDelivery]:
        announcer = EventBuilder(
            "emea",
            now=1.0,
            names=NAMES,
            routes=routes,
            sinks={"desk": DESK},
            failures=FailureTracker("emea", ()),
        )
        announcer.add_controller_event(kind)
        return [each for each in announcer.deliveries if each.sink]

    [opening], [closing] = tell(begun), tell(EventType.CONTROLLER_RECOVERED)
    assert (opening.subject, opening.purpose) == ("controller:emea", Purpose.NOTIFY)
    assert (closing.subject, closing.purpose) == ("controller:emea", Purpose.CLOSE)


def test_an_event_about_another_sink_opens_and_closes_a_ticket() -> None:
    """``sink.failing`` and ``sink.recovered``."""
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    news = bridge.events[0]
    purposes = []
    for kind in (EventType.SINK_FAILING, EventType.SINK_RECOVERED):
        event = type(news)(id="e", type=kind, time=news.time, severity="error", controller=None, sink="chat")
        purposes += [each.purpose for each in status_recipients(event, "sink:chat", PER_JOB, {"desk": DESK})]
    assert purposes == [Purpose.NOTIFY, Purpose.CLOSE]


# --- messages in place ------------------------------------------------------------------------------------

FAILURES_ALONE = (Route(sinks=("chat",), match=Match(event=("*.failed",))),)


def in_place(routes: Sequence[Route] = FAILURES_ALONE, every: float = 0.0) -> Bridge:
    """A bridge whose chat changes its messages in place."""
    bridge = Bridge(routes, chat=SinkProfile(updates_every=every))
    bridge.policy = PollPolicy(settle=0, progress=True)
    return bridge


def test_a_sink_that_shows_a_job_gets_all_its_later_events() -> None:
    """Events that no route sends there update the message, so that it never shows an old state."""
    bridge = in_place()
    bridge.poll(running(1, 150, *rows(V1="running", V2="running")))
    assert told(bridge, "chat") == []
    bridge.poll(running(1, 150, *rows(V1="failed", V2="running")))
    assert told(bridge, "chat") == ["notify job:emea:1-100"]
    bridge.poll(running(1, 150, *rows(V1="failed", V2="succeeded")))
    assert bridge.sent(EventType.JOB_PROGRESS)["chat"].purpose is Purpose.FOLLOW
    bridge.poll(ended(1, "Canceled", 200, *rows(V1="failed", V2="succeeded")))
    assert bridge.sent(EventType.JOB_CANCELED)["chat"].purpose is Purpose.FOLLOW


def test_a_followed_message_shows_only_failures_that_its_sink_was_notified_of() -> None:
    """Outside the route, or silenced when it came: an update of the message does not add it."""
    bridge = in_place((Route(sinks=("chat",), match=Match(event=("*.failed",), serial=("V1",))),))
    bridge.poll(running(1, 150, *rows(V1="failed", V2="failed")))
    bridge.poll(ended(1, "Canceled", 200, *rows(V1="failed", V2="failed")))
    following = bridge.sent(EventType.JOB_CANCELED)["chat"]
    [event] = [each for each in bridge.events if each.type is EventType.JOB_CANCELED]
    assert following.purpose is Purpose.FOLLOW
    assert [event.failures[i].serial for i in following.shown or ()] == ["V1"]


def test_a_rerun_goes_on_in_the_same_message() -> None:
    """A sink that showed the first run shows the next."""
    bridge = in_place()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    bridge.poll(running(1, 300, *rows(V1="running")))
    assert [
        bridge.sent(kind)["chat"].purpose for kind in (EventType.JOB_REOPENED, EventType.JOB_STARTED)
    ] == [
        Purpose.FOLLOW,
        Purpose.FOLLOW,
    ]


def test_sinks_whose_messages_stay_as_they_are_follow_nothing() -> None:
    """Mail gets what its routes say."""
    bridge = Bridge((Route(sinks=("mail",), match=Match(event=("*.failed",))),))
    bridge.poll(running(1, 150, *rows(V1="failed")))
    bridge.poll(ended(1, "Canceled", 200, *rows(V1="failed")))
    assert told(bridge, "mail") == []


def test_progress_comes_no_more_often_than_the_sink_wants_it() -> None:
    """Newer progress takes the place, and the time, of what is not due yet: none waits for ever."""
    bridge = in_place((Route(sinks=("chat",)),), every=60.0)
    bridge.poll(running(1, 150, *rows(V1="pending", V2="pending", V3="pending", V4="pending")))
    due = []
    for done in ({"V1"}, {"V1", "V2"}, {"V1", "V2", "V3"}, {"V1", "V2", "V3", "V4"}):
        serials = {name: "succeeded" if name in done else "pending" for name in ("V1", "V2", "V3", "V4")}
        bridge.poll(running(1, 150, *rows(**serials)), after=25)
        due.append(bridge.sent(EventType.JOB_PROGRESS)["chat"].due_at - bridge.now)
    assert due == [0.0, 35.0, 10.0, 45.0]


def test_a_clock_that_is_set_back_does_not_stop_the_progress() -> None:
    """It comes at the latest when its time between two is over."""
    bridge = in_place((Route(sinks=("chat",)),), every=60.0)
    bridge.poll(running(1, 150, *rows(V1="pending", V2="pending", V3="pending")))
    bridge.poll(running(1, 150, *rows(V1="succeeded", V2="pending", V3="pending")))
    bridge.poll(running(1, 150, *rows(V1="succeeded", V2="succeeded", V3="pending")), after=-86400)
    assert bridge.sent(EventType.JOB_PROGRESS)["chat"].due_at == bridge.now + 60
