"""Test what a silence leaves open, and which silences are refused."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.diff import PollPolicy
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Match, Route
from cmc_notify.core.silences import Silence, apply_silences, find_problems, silences_hiding
from support.core_bridge import Bridge, ended, rows, running
from support.silences import NOW, PLAN, SUBJECT, event, left, silence


def test_a_silence_until_a_job_ends_does_not_hide_the_end() -> None:
    """However it ends, also by vanishing; until then its events are hidden."""
    until = silence(subject=SUBJECT, until_job=True)
    assert left(event(EventType.APPLIANCE_FAILED, ("V1", 3), status="InProgress"), until) == {}
    for kind, status in (
        (EventType.JOB_FAILED, "Failed"),
        (EventType.JOB_SUCCEEDED, "Success"),
        (EventType.JOB_CANCELED, "Canceled"),
        (EventType.JOB_VANISHED, "InProgress"),
        (EventType.APPLIANCE_FAILED, "Failed"),
    ):
        assert left(event(kind, ("V1", 3), status=status), until) == PLAN


# --- through the whole core -------------------------------------------------------------------------------


def test_a_silenced_failure_is_open_but_no_sink_is_notified_of_it_or_its_recovery() -> None:
    """The ledger names the silence; the job's other failures are sent, and recover at the same sinks."""
    bridge = Bridge()
    bridge.silences = [silence(serials=("V1",), comment="being replaced")]
    bridge.poll(running(1, 150, *rows(V1="failed", V2="running", V3="running")))
    [row] = bridge.sent(EventType.APPLIANCE_FAILED).values()
    assert (row.sink, row.silenced_by) == ("", "silence s1 by ops: being replaced")
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed", V2="failed", V3="failed")))
    final = bridge.sent(EventType.JOB_FAILED)
    assert {sink: delivery.shown for sink, delivery in final.items()} == {"chat": (1, 2), "mail": (1, 2)}
    assert {each.serial: set(each.notified) for each in bridge.open} == {
        "V1": set(), "V2": {"chat", "mail"}, "V3": {"chat", "mail"},
    }  # fmt: skip
    bridge.silences = [silence(controllers=("*",), ends_at=NOW + 9e9)]
    bridge.poll(ended(2, "Success", 300, *rows(V1="succeeded", V2="succeeded", V3="succeeded")))
    back = bridge.sent(EventType.APPLIANCE_RECOVERED)
    assert {sink: delivery.shown for sink, delivery in back.items()} == {"chat": (1, 2), "mail": (1, 2)}
    assert bridge.open == []


def test_after_the_silence_the_next_failure_is_sent() -> None:
    """Its recovery goes to the notified sinks."""
    bridge = Bridge()
    bridge.silences = [silence(serials=("V1",), ends_at=bridge.now + 30)]
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    assert set(bridge.sent(EventType.JOB_FAILED)) == {""}
    bridge.poll(ended(2, "Failed", 300, *rows(V1="failed")))
    assert set(bridge.sent(EventType.JOB_FAILED)) == {"chat", "mail"}
    bridge.poll(ended(3, "Success", 400, *rows(V1="succeeded")))
    assert set(bridge.sent(EventType.APPLIANCE_RECOVERED)) == {"chat", "mail"}


def test_a_silence_until_the_job_ends_is_over_with_it() -> None:
    """A rerun of the job is announced."""
    bridge = Bridge()
    bridge.silences = [silence(subject=SUBJECT, until_job=True)]
    bridge.poll(running(1, 150))
    assert set(bridge.sent(EventType.JOB_STARTED)) == {""}
    bridge.poll(ended(1, "Success", 200))
    assert set(bridge.sent(EventType.JOB_SUCCEEDED)) == {"chat", "mail"}
    assert bridge.silences == []
    bridge.poll(running(1, 250))
    assert set(bridge.sent(EventType.JOB_REOPENED)) == {"chat", "mail"}


def test_what_matches_no_route_is_unrouted_whatever_is_silenced() -> None:
    """The ledger has the reason for no notification: the route."""
    bridge = Bridge([Route(match=Match(controller=("apac",)), sinks=("chat",))])
    bridge.silences = [silence(serials=("V1",)), silence(controllers=("emea",))]
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    [row] = bridge.deliveries
    assert (row.sink, row.silenced_by) == ("", None)


@pytest.mark.parametrize("per_failure", [True, False])
def test_a_silenced_failure_opens_no_ticket_and_its_recovery_closes_none(*, per_failure: bool) -> None:
    """It does not change an open ticket either; a failure that is not silenced does both."""
    routes = [Route(sinks=("desk",), per_failure=per_failure)]
    bridge = Bridge(routes, desk=SinkProfile(tickets=True))
    bridge.silences = [silence(serials=("V1",))]
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    assert set(bridge.sent(EventType.JOB_FAILED)) == {""}
    bridge.poll(ended(2, "Failed", 300, *rows(V1="failed", V2="failed")))
    [opened] = bridge.deliveries
    assert opened.shown == (1,)
    assert opened.subject == ("failure:emea:V2:3" if per_failure else "job:emea:2-100")
    bridge.poll(ended(3, "Success", 400, *rows(V1="succeeded")))
    assert set(bridge.sent(EventType.APPLIANCE_RECOVERED)) == {""}
    bridge.poll(ended(4, "Success", 500, *rows(V2="succeeded")))
    assert bridge.sent(EventType.APPLIANCE_RECOVERED)["desk"].purpose is Purpose.CLOSE


def test_the_error_of_a_whole_job_opens_its_ticket_also_where_each_failure_is_silenced() -> None:
    """The job's own, since no failure has one."""
    bridge = Bridge([Route(sinks=("desk",), per_failure=True)], desk=SinkProfile(tickets=True))
    bridge.silences = [silence(serials=("V1",))]
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed"), error_text="no licence"))
    [opened] = bridge.deliveries
    assert (opened.subject, opened.shown) == ("job:emea:1-100", ())


def test_a_message_that_stands_is_kept_up_to_date_while_its_job_is_silenced() -> None:
    """No sink is notified; a ledger row has the reason, except for progress."""
    bridge = Bridge([Route(sinks=("chat",))], chat=SinkProfile(updates_every=1.0))
    bridge.policy = PollPolicy(settle=0, progress=True)
    bridge.poll(running(1, 150, *rows(V1="running", V2="running")))
    bridge.silences = [silence(jobs=(1,))]
    assert bridge.poll(running(1, 150, *rows(V1="succeeded", V2="running"))) == ["1 job.progress"]
    assert [(each.sink, each.purpose) for each in bridge.deliveries] == [("chat", Purpose.FOLLOW)]
    bridge.poll(ended(1, "Failed", 200, *rows(V1="succeeded", V2="failed")))
    assert {(each.sink, each.purpose) for each in bridge.deliveries} == {
        ("chat", Purpose.FOLLOW), ("", Purpose.NOTIFY),
    }  # fmt: skip
    assert [set(each.notified) for each in bridge.open] == [set()]


# --- open failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "marks"),
    [
        ({"serials": ("V1",)}, True),
        ({"features": ("QoS",)}, True),
        ({"features": ("qos",)}, True),
        ({"controllers": ("emea",), "jobs": (1,)}, True),
        ({"subject": SUBJECT}, True),
        ({"subject": "job:emea:2-100"}, False),
        ({"serials": ("V2",)}, False),
        ({"jobs": (2,)}, False),
        ({"serials": ("V1",), "ends_at": NOW}, False),
    ],
)
def test_an_open_failure_is_marked_by_the_silences_that_would_hide_it(
    asked: dict[str, Any], *, marks: bool
) -> None:
    """By the same matchers, a feature's short name among them."""
    bridge = Bridge()
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed"), feature_ids=(3,)))
    [incident] = bridge.open
    assert bool(silences_hiding(incident, [silence(**asked)], now=NOW)) is marks


# --- adding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({}, "at least one matcher"),
        ({"serials": ("",)}, "a matcher is empty"),
        ({"jobs": (1,), "ends_at": NOW - 20}, "must end after it starts"),
        ({"jobs": (1,), "starts_at": NOW - 20, "ends_at": NOW}, "over already"),
        ({"jobs": (1,), "until_job": True}, "only a silence of one job"),
        ({"jobs": (1,), "comment": "x" * 1001}, "at most 1000"),
        ({"jobs": tuple(range(501))}, "at most 500 matchers"),
        ({"jobs": (1,), "ends_at": NOW + 4e8}, "more than ten years"),
        ({"serials": ("V" * 201,)}, "more than 200 characters"),
        ({"jobs": (1,), "created_by": " "}, "the name of the person who adds it"),
    ],
)
def test_an_invalid_silence_is_refused(asked: dict[str, Any], problem: str) -> None:
    """The problem is explained to the person who adds it."""
    [found] = find_problems(silence(**asked), now=NOW)
    assert problem in found
    assert find_problems(silence(jobs=(1,)), now=NOW) == []


# --- any silences, any event ------------------------------------------------------------------------------

silence_strategy = st.builds(
    silence,
    st.sampled_from(["s1", "s2", "s3"]),
    controllers=st.sampled_from([(), (), ("em*",), ("apac",)]),
    jobs=st.sampled_from([(), (), (1, 7), (2,)]),
    serials=st.sampled_from([(), ("V1",), ("V2",), ("V*",), ("V9", "V1")]),
    features=st.sampled_from([(), ("QoS",), ("path*",), ("*",)]),
    subject=st.sampled_from([None, None, SUBJECT, "job:emea:9-9"]),
    ends_at=st.sampled_from([NOW, NOW + 1]),
    until_job=st.booleans(),
).filter(lambda each: bool(each.controllers or each.of_jobs or each.of_failures))
silences_strategy = st.lists(silence_strategy, max_size=3)
event_strategy = st.builds(
    event,
    st.sampled_from(EventType),
    st.tuples(st.sampled_from(["V1", "V2", None]), st.sampled_from([3, 4, None])),
    st.tuples(st.sampled_from(["V1", "V2"]), st.sampled_from([3, 4])),
    status=st.sampled_from(["InProgress", "Failed", "Success"]),
    error_text=st.sampled_from([None, "no licence"]),
)


def asks_for(asked: Silence, what: Event, index: int | None) -> bool:
    """Return True if the silence asks to hide this failure (None: the event), computed separately."""
    over = what.type is EventType.JOB_VANISHED or (what.job and what.job.status != "InProgress")
    fits = [
        asked.starts_at <= NOW < asked.ends_at,
        what.type not in (EventType.SINK_FAILING, EventType.SINK_RECOVERED),
        not asked.controllers or fnmatchcase(what.controller or "", asked.controllers[0]),
        not asked.jobs or (what.job is not None and what.job.id in asked.jobs),
        asked.subject is None or (what.job is not None and asked.subject == SUBJECT),
        not (asked.until_job and over),
    ]
    if index is None:
        return all(fits) and not asked.serials and not asked.features
    failure = what.failures[index]
    names = {3: ("QoS", "qos"), 4: ("Path Rules", "path_rules")}.get(failure.feature_id or 0, ())
    return (
        all(fits)
        and (not asked.serials or any(fnmatchcase(failure.serial or "", glob) for glob in asked.serials))
        and (not asked.features or any(fnmatchcase(name, asked.features[0]) for name in names))
    )


@given(event_strategy, silences_strategy)
def test_nothing_is_hidden_but_what_an_active_silence_asks(what: Event, silences: list[Silence]) -> None:
    """And all of that is hidden; recoveries and events about sinks never are."""
    got, by = apply_silences(
        what, PLAN, silences, subject=SUBJECT if what.job else "controller:emea", now=NOW
    )
    everything = set(range(len(what.failures)))
    asked = {i for i in everything if any(asks_for(each, what, i) for each in silences)}
    bare = what.type in (EventType.JOB_FAILED, EventType.APPLIANCE_FAILED) and not (
        what.job and what.job.error_text
    )
    silent = any(asks_for(each, what, None) for each in silences) or (bare and asked == everything != set())
    if what.type.endswith(".recovered") or what.type.startswith("sink."):
        assert (got, by) == (PLAN, ())
    elif silent:
        assert got == {}
    else:
        assert set(got) == set(PLAN)
        for shown in got.values():
            assert everything - set(everything if shown is None else shown) == asked
    assert bool(by) == (got != PLAN)


@given(event_strategy, silences_strategy, silence_strategy)
def test_one_silence_more_never_shows_more(what: Event, silences: list[Silence], another: Silence) -> None:
    """To no sink."""
    fewer, more = left(what, *silences), left(what, *silences, another)
    for sink, shown in more.items():
        before = fewer[sink]
        assert before is None or (shown is not None and set(shown) <= set(before))


@pytest.mark.parametrize("name", ["silenced", "unrouted"])
def test_no_sink_name_collides_with_the_row_of_an_event_without_recipient(name: str) -> None:
    """Two deliveries of one id would let no poll be committed any more."""
    bridge = Bridge((Route(sinks=(name,)),), **{name: SinkProfile(updates_every=1.0)})
    bridge.poll(running(1, 150, *rows(V1="running")))
    bridge.silences = [silence(controllers=("*",), ends_at=1e12)]
    bridge.poll(ended(1, "Failed", 200, *rows(V1="failed")))
    assert len(bridge.deliveries) == len({each.id for each in bridge.deliveries}) == 2
