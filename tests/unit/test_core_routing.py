"""The sinks that an event goes to, and the failures that each is shown."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.events import SEVERITY, Event, EventType, failures, job_info
from cmc_notify.core.model import Feature, Job, Names, Outcome, Row
from cmc_notify.core.routing import Match, Route, any_glob, route

NAMES = Names({3: Feature(3, "qos", "QoS"), 4: Feature(4, "path_rules", "Path Rules")})
PAIRS = (("V1", 3), ("V1", 4), ("V2", 3))


def event(
    kind: EventType = EventType.JOB_FAILED,
    *,
    pairs: tuple[tuple[str | None, int | None], ...] = (),
    sites: tuple[int, ...] = (7,),
    serials: tuple[str, ...] = (),
    sink: str | None = None,
    with_job: bool = True,
) -> Event:
    """An event of controller emea, about a job of features 3 and 4 unless it has none."""
    rows = tuple(Row(serial, feature, Outcome.FAILED, "broke") for serial, feature in pairs)
    job = Job(id=1, status="Failed", feature_ids=(3, 4), site_ids=sites, serials=serials, rows=rows)
    return Event(
        id="e",
        type=kind,
        time="2026-11-23T09:20:00Z",
        severity=SEVERITY[kind],
        controller=None if sink else "emea",
        sink=sink,
        job=job_info(job, NAMES, previous_status=None) if with_job and not sink else None,
        failures=failures(job, NAMES, pairs, set()),
    )


def matches(match: Match, what: Event) -> bool:
    """Return True if a single route with this matcher leads to a sink."""
    return bool(route(what, [Route(match=match, sinks=("chat",))]))


def test_the_first_match_wins() -> None:
    """Later routes are not asked."""
    routes = [
        Route(match=Match(event=("job.queued",)), sinks=("a",)),
        Route(match=Match(event=("job.*",)), sinks=("b", "c")),
        Route(sinks=("d",)),
    ]
    assert route(event(), routes) == {"b": None, "c": None}


def test_continue_asks_the_routes_below_too() -> None:
    """A route that proceeds leaves the next ones their turn, until one does not."""
    routes = [Route(sinks=("a",), proceed=True), Route(sinks=("b",)), Route(sinks=("c",))]
    assert route(event(), routes) == {"a": None, "b": None}


def test_a_route_that_does_not_match_stops_nothing() -> None:
    """Also without continue."""
    routes = [Route(match=Match(controller=("apac",)), sinks=("a",)), Route(sinks=("b",))]
    assert route(event(), routes) == {"b": None}


def test_an_event_that_matches_no_route_goes_nowhere() -> None:
    """No sink is notified, and the ledger records that."""
    assert route(event(), [Route(match=Match(serial=("V9",)), sinks=("a",))]) == {}
    assert route(event(), []) == {}


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(), True),
        (Match(event=("appliance.*", "job.failed")), True),
        (Match(event=("job",)), False),
        (Match(event=("JOB.FAILED",)), False),
        (Match(controller=("em*",)), True),
        (Match(controller=("EMEA",)), False),
        (Match(site_id=(6, 7)), True),
        (Match(site_id=(8,)), False),
        (Match(event=("job.failed",), controller=("apac",)), False),
    ],
)
def test_every_key_must_match_and_any_value_of_it_will_do(match: Match, *, expected: bool) -> None:
    """Patterns are globs over the whole value, in its exact case."""
    assert matches(match, event()) is expected


@pytest.mark.parametrize(
    "match",
    [Match(feature=("*",)), Match(serial=("*",)), Match(site_id=(7,)), Match(controller=("*",))],
)
def test_an_event_that_lacks_the_field_does_not_match(match: Match) -> None:
    """A sink's event has neither controller nor job, so no pattern fits it, not even ``*``."""
    assert not matches(match, event(EventType.SINK_FAILING, sink="mail"))


def test_a_job_aimed_at_sites_has_no_serials_to_match() -> None:
    """Without failures a serial is matched against the job's own targets only."""
    assert not matches(Match(serial=("*",)), event())
    assert matches(Match(serial=("V2*",)), event(sites=(), serials=("V1", "V20")))
    assert not matches(Match(site_id=(7,)), event(sites=(), serials=("V1",)))


@pytest.mark.parametrize(
    ("pattern", "expected"), [("QoS", True), ("qos", True), ("Path*", True), ("dns", False)]
)
def test_without_failures_a_feature_matches_the_jobs_own(pattern: str, *, expected: bool) -> None:
    """By label or by name."""
    assert matches(Match(feature=(pattern,)), event(EventType.JOB_STARTED)) is expected


@pytest.mark.parametrize(
    ("match", "shown"),
    [
        (Match(serial=("V1",)), (0, 1)),
        (Match(feature=("QoS",)), (0, 2)),
        (Match(feature=("qos",)), (0, 2)),
        (Match(feature=("Path*",), serial=("V1",)), (1,)),
        (Match(serial=("V*",)), None),
        (Match(serial=("V1", "V2")), None),
    ],
)
def test_pair_matchers_show_only_the_failures_that_match(match: Match, shown: tuple[int, ...] | None) -> None:
    """All of them is None; both keys must fit one and the same failure."""
    assert route(event(pairs=PAIRS), [Route(match=match, sinks=("chat",))]) == {"chat": shown}


def test_a_route_that_shows_none_of_the_failures_does_not_match() -> None:
    """The job's features don't count where there are failures."""
    assert not matches(Match(feature=("Path*",)), event(pairs=(("V1", 3),)))
    assert not matches(Match(feature=("Path*",), serial=("V2",)), event(pairs=PAIRS))
    assert not matches(Match(serial=("*",)), event(pairs=((None, 3),)))
    assert not matches(Match(feature=("*",)), event(pairs=(("V1", None),)))


def test_two_routes_to_one_sink_notify_it_once_with_all_that_either_shows() -> None:
    """The union in the order of the failures; all of them where one route shows all."""
    one, other, everything = (
        Route(match=Match(serial=("V2",)), sinks=("chat",), proceed=True),
        Route(match=Match(feature=("Path*",)), sinks=("chat",), proceed=True),
        Route(sinks=("chat",), proceed=True),
    )
    assert route(event(pairs=PAIRS), [one, other]) == {"chat": (1, 2)}
    assert route(event(pairs=PAIRS), [one, everything, other]) == {"chat": None}


def test_an_event_about_a_sink_never_goes_to_that_sink() -> None:
    """The other sinks of the route are notified."""
    routes = [Route(sinks=("chat", "mail"), proceed=True), Route(sinks=("mail",))]
    assert route(event(EventType.SINK_FAILING, sink="mail"), routes) == {"chat": None}


def test_a_route_to_the_failing_sink_alone_does_not_end_the_search() -> None:
    """Otherwise no sink would be notified. A route with another sink ends the search as usual."""
    routes = [Route(sinks=("mail",)), Route(sinks=("mail", "chat")), Route(sinks=("screen",))]
    assert route(event(EventType.SINK_FAILING, sink="mail"), routes) == {"chat": None}
    assert route(event(EventType.SINK_FAILING, sink="chat"), routes) == {"mail": None}
    assert route(event(EventType.SINK_FAILING, sink="mail"), routes[:1]) == {}


def test_progress_goes_only_to_sinks_that_update_in_place() -> None:
    """The others would be flooded."""
    routes = [Route(sinks=("chat", "mail"))]
    assert route(event(EventType.JOB_PROGRESS), routes, updating_sinks={"chat"}) == {"chat": None}
    assert route(event(EventType.JOB_PROGRESS), routes) == {}
    assert route(event(EventType.JOB_STARTED), routes) == {"chat": None, "mail": None}


@given(st.lists(st.text("a*?[]!-B", max_size=5), max_size=4), st.text("ab*[]!B-", max_size=5))
def test_globs_match_as_those_of_the_standard_library(patterns: list[str], value: str) -> None:
    """Each over the whole value; nothing matches what is not there."""
    assert any_glob(patterns, value) is any(fnmatchcase(value, pattern) for pattern in patterns)
    assert not any_glob(patterns, None)


globs = st.lists(st.sampled_from(["V1", "V2", "V*", "V9", "*"]), max_size=2).map(tuple)
routes_strategy = st.lists(
    st.builds(
        Route,
        match=st.builds(Match, serial=globs, feature=st.sampled_from([(), ("QoS",), ("Path*",), ("dns",)])),
        sinks=st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True).map(tuple),
        proceed=st.booleans(),
    ),
    max_size=4,
)
pairs_strategy = st.lists(
    st.tuples(st.sampled_from(["V1", "V2", None]), st.sampled_from([3, 4, None])), unique=True, max_size=5
).map(tuple)


@given(routes_strategy, pairs_strategy)
def test_a_sink_sees_what_the_routes_asked_one_by_one_would_show(
    routes: list[Route], pairs: tuple[tuple[str | None, int | None], ...]
) -> None:
    """Whatever the routes: read down to the first final match, each sink gets the sorted union."""
    what = event(pairs=pairs)
    expected: dict[str, set[int]] = {}
    for rule in routes:
        alone = route(what, [rule])
        for sink, shown in alone.items():
            expected.setdefault(sink, set()).update(range(len(pairs)) if shown is None else shown)
        if alone and not rule.proceed:
            break
    got = route(what, routes)
    assert {s: set(range(len(pairs)) if shown is None else shown) for s, shown in got.items()} == expected
    for shown in got.values():
        assert shown is None or (shown and list(shown) == sorted(set(shown)))
