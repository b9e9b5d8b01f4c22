"""Silences hide the events and failures that they match, and nothing else."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.diff import PollPolicy
from cmc_notify.core.events import SEVERITY, Event, EventType, failures, job_info
from cmc_notify.core.model import Feature, Job, Names, Outcome, Row
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Match, Route, Shown
from cmc_notify.core.silences import Silence, apply_silences, find_problems, silences_hiding
from support.core_bridge import Bridge, ended, rows, running

NAMES = Names({3: Feature(3, "qos", "QoS"), 4: Feature(4, "path_rules", "Path Rules")})
NOW = 1_000_015.0
SUBJECT = "job:emea:1-100"
PLAN: dict[str, Shown] = {"chat": None, "mail": None}


def silence(name: str = "s1", **fields: Any) -> Silence:
    """Active now for an hour, unless said otherwise."""
    known: dict[str, Any] = {
        "starts_at": NOW - 10,
        "ends_at": NOW + 3600,
        "created_by": "ops",
        "created_at": NOW - 10,
    }
    return Silence(id=name, **known | fields)


def event(
    kind: EventType = EventType.JOB_FAILED,
    *pairs: tuple[str | None, int | None],
    status: str = "Failed",
    **of_job: Any,
) -> Event:
    """An event of controller emea about job 1, with these failures; about no job where its type says so."""
    details = tuple(Row(serial, feature, Outcome.FAILED, "broke") for serial, feature in pairs)
    job = Job(id=1, status=status, feature_ids=(3, 4), rows=details, **of_job)
    of_sink = kind.startswith("sink.")
    without = of_sink or kind.startswith("controller.")
    return Event(
        id="e",
        type=kind,
        time="2026-11-23T09:20:00Z",
        severity=SEVERITY[kind],
        controller=None if of_sink else "emea",
        sink="mail" if of_sink else None,
        job=None if without else job_info(job, NAMES, previous_status=None),
        failures=() if without else failures(job, NAMES, pairs, set()),
    )


def left(what: Event, *silences: Silence, plan: dict[str, Shown] = PLAN) -> dict[str, Shown]:
    """Return the failures that each sink is shown after silences."""
    subject = SUBJECT if what.job else "controller:emea"
    return apply_silences(what, plan, silences, subject=subject, now=NOW)[0]


THREE = event(EventType.JOB_FAILED, ("V1", 3), ("V1", 4), ("V2", 3))
SINGLE = event(EventType.JOB_FAILED, ("V1", 3))
assert SINGLE.job


# --- failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"serials": ("V2",)}, (0, 1)),
        ({"features": ("QoS",)}, (1,)),
        ({"features": ("qos",)}, (1,)),
        ({"serials": ("V1",), "features": ("Path*",)}, (0, 2)),
        ({"serials": ("V1",), "features": ("dns",)}, None),
        ({"serials": ("v1",)}, None),
        ({"serials": ("V1",), "controllers": ("apac",)}, None),
        ({"serials": ("V1",), "jobs": (2,)}, None),
        ({"serials": ("V1",), "jobs": (1, 2), "controllers": ("em*",)}, (2,)),
    ],
)
def test_only_the_failures_that_match_are_hidden(asked: dict[str, Any], shown: Shown) -> None:
    """Each matcher must fit one and the same failure; globs and names are those of routes."""
    assert left(THREE, silence(**asked)) == {"chat": shown, "mail": shown}


def test_a_sink_whose_failures_are_all_hidden_is_not_notified() -> None:
    """Others, whose route shows them more, are."""
    assert left(THREE, silence(serials=("V1",)), plan={"chat": (0, 1), "mail": (1, 2)}) == {"mail": (2,)}


def test_two_silences_hide_together_and_both_are_named() -> None:
    """A silence that hides nothing more is not named."""
    several = [silence(name, serials=(name,)) for name in ("V1", "V2", "V9")]
    shown, by = apply_silences(THREE, PLAN, several, subject=SUBJECT, now=NOW)
    assert shown == {}
    assert [each.id for each in by] == ["V1", "V2"]


@pytest.mark.parametrize(
    "told",
    [
        event(EventType.JOB_FAILED, ("V1", 3), error_text="no licence"),
        replace(SINGLE, job=replace(SINGLE.job, details_pending=True)),
        event(EventType.JOB_SUCCEEDED, ("V1", 3), status="Success"),
        event(EventType.JOB_CANCELED, ("V1", 3), status="Canceled"),
    ],
)
def test_an_event_about_more_than_its_failures_is_sent_without_them(told: Event) -> None:
    """A pre-push error, results to come, a success, a cancellation: the silence does not hide those."""
    assert left(SINGLE, silence(serials=("V1",))) == {}
    assert left(told, silence(serials=("V1",))) == {"chat": (), "mail": ()}


@pytest.mark.parametrize("kind", [EventType.JOB_STARTED, EventType.JOB_OVERDUE, EventType.JOB_FAILED])
def test_an_event_without_failures_is_left_alone_by_silences_of_failures(kind: EventType) -> None:
    """Also where the job's features match."""
    told = event(kind, status="InProgress")
    assert left(told, silence(features=("QoS",)), silence(serials=("*",))) == PLAN
    assert left(told, silence(jobs=(1,))) == {}


@pytest.mark.parametrize("kind", [each for each in EventType if each.endswith(".recovered")])
def test_a_recovery_is_never_hidden(kind: EventType) -> None:
    """Whatever is silenced, it goes to each sink that was notified of the failure."""
    assert left(event(kind), silence(controllers=("*",)), silence(serials=("*",))) == PLAN


# --- jobs, controllers, time ------------------------------------------------------------------------------


def test_a_silence_of_a_job_or_controller_hides_the_whole_event() -> None:
    """With its pre-push error; another job, or another with the same id, is announced."""
    whole = event(EventType.JOB_FAILED, ("V1", 3), error_text="no licence")
    assert left(whole, silence(controllers=("emea",))) == {}
    assert left(whole, silence(subject=SUBJECT)) == {}
    assert left(whole, silence(jobs=(2,))) == PLAN
    assert left(whole, silence(subject="job:emea:1-200")) == PLAN


@pytest.mark.parametrize(
    ("asked", "hidden"),
    [
        ({"controllers": ("emea",)}, True),
        ({"controllers": ("apac",)}, False),
        ({"controllers": ("emea",), "jobs": (1,)}, False),
        ({"controllers": ("emea",), "serials": ("*",)}, False),
        ({"controllers": ("emea",), "features": ("*",)}, False),
        ({"jobs": (1,)}, False),
        ({"serials": ("*",)}, False),
    ],
)
def test_a_controllers_own_events_are_hidden_only_by_a_silence_of_nothing_but_controllers(
    asked: dict[str, Any], *, hidden: bool
) -> None:
    """A silence of an appliance does not hide the loss of its controller."""
    told = event(EventType.CONTROLLER_UNREACHABLE)
    assert left(told, silence(**asked)) == ({} if hidden else PLAN)


@pytest.mark.parametrize(("starts", "ends"), [(1, 10), (-10, 0), (-10, -1)])
def test_a_silence_that_has_not_begun_or_is_over_hides_nothing(starts: float, ends: float) -> None:
    """It begins with its first moment, and ends before its last."""
    assert left(THREE, silence(jobs=(1,), starts_at=NOW + starts, ends_at=NOW + ends)) == PLAN
    assert left(THREE, silence(jobs=(1,), starts_at=NOW, ends_at=NOW + 1)) == {}


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
