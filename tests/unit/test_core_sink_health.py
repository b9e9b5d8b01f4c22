"""The condition of a sink (failing or not), and the recipients of its events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Match, Route
from cmc_notify.core.sink_health import (
    FAILED_ATTEMPTS,
    FAILED_FOR,
    SinkCondition,
    SinkEvent,
    Streak,
    build_sink_event,
)

NOW = 1_795_425_600.0
FAILED: tuple[SendOutcome, ...] = (RetryLater("busy"), Unclear("lost"), Rejected("too large"))
outcomes = st.sampled_from([*FAILED, Blocked("401"), Sent()])


def streak(*steps: tuple[SendOutcome, float]) -> Streak:
    """The streak after these attempts, each so many seconds after NOW."""
    result = Streak()
    for outcome, seconds in steps:
        result = result.after(outcome, NOW + seconds)
    return result


def tell(told: SinkCondition, *routes: Route, of: Streak | None = None) -> SinkEvent:
    """Return the event about the sink ``mail``."""
    rules = {name: SinkProfile(deadline=60) for name in ("mail", "chat", "screen")}
    of = of or streak((Blocked("535 refused"), 0))
    return build_sink_event("mail", of, told, now=NOW, routes=routes, sinks=rules)


def test_a_blocked_sink_fails_at_once() -> None:
    """Nothing will be taken until an operator acts: there is nothing to wait for."""
    assert streak((Blocked("401"), 0)).failing(NOW) is True


@pytest.mark.parametrize(
    ("seconds", "expected"), [((0, 15), None), ((0, 15, 29), None), ((0, 1, 30), True), ((0, 40), None)]
)
def test_other_failures_must_be_several_and_last(
    seconds: tuple[float, ...], *, expected: bool | None
) -> None:
    """Three attempts, and thirty seconds between the first and the last, whatever went wrong."""
    attempts = streak(*zip(FAILED, seconds, strict=False))
    assert attempts.failing(NOW + seconds[-1]) is expected


def test_a_success_ends_the_streak() -> None:
    """Failures before it no longer count."""
    steps: list[tuple[SendOutcome, float]] = [
        (RetryLater("busy"), 0),
        (RetryLater("busy"), 20),
        (Sent(), 25),
        (RetryLater("busy"), 40),
    ]
    assert streak(*steps[:3]).failing(NOW + 25) is False
    assert streak(*steps).failing(NOW + 40) is None
    assert streak(*steps).since == NOW + 40


@given(st.lists(st.tuples(outcomes, st.floats(0, 40)), max_size=12))
def test_a_verdict_is_what_the_attempts_since_the_last_success_say(
    steps: list[tuple[SendOutcome, float]],
) -> None:
    """Any history: only the failures after the last success decide."""
    now = NOW
    result = Streak()
    since: list[tuple[SendOutcome, float]] = []
    for outcome, later in steps:
        now += later
        result = result.after(outcome, now)
        since = [] if isinstance(outcome, Sent) else [*since, (outcome, now)]
    if not since:
        expected: bool | None = False
    elif isinstance(since[-1][0], Blocked):
        expected = True
    else:
        expected = (len(since) >= FAILED_ATTEMPTS and now - since[0][1] >= FAILED_FOR) or None
    assert result.failing(now) is expected


def test_news_says_what_and_since_when() -> None:
    """The event names sink, reason and the first failure; the recovery repeats since when."""
    news = tell(SinkCondition(), Route(sinks=("chat",)))
    event = news.event
    assert (event.type, event.severity, event.sink, event.controller, event.job) == (
        EventType.SINK_FAILING,
        "error",
        "mail",
        None,
        None,
    )
    assert (event.reason, event.since) == ("Blocked: 535 refused", "2026-11-23T09:20:00Z")
    assert news.condition == SinkCondition(1, event.since)

    back = tell(news.condition, Route(sinks=("chat",)), of=Streak())
    assert (back.event.type, back.event.severity) == (EventType.SINK_RECOVERED, "info")
    assert (back.event.reason, back.event.since) == (None, event.since)
    assert not back.condition.failing
    assert tell(back.condition).event.type is EventType.SINK_FAILING


def test_the_reason_counts_attempts_where_nothing_is_blocked() -> None:
    """A reader sees that it is no single failure."""
    failed = streak((RetryLater("503"), 0), (RetryLater("503"), 20), (Unclear("no answer in 15 s"), 40))
    event = tell(SinkCondition(), of=failed).event
    assert event.reason == "3 attempts in a row failed, the last one: no answer in 15 s"


def test_the_sink_concerned_is_left_out() -> None:
    """The other sinks of its route are notified, in one order for each sink, with their own deadlines."""
    news = tell(SinkCondition(), Route(sinks=("mail", "chat", "screen")))
    assert [new.sink for new in news.deliveries] == ["chat", "screen"]
    assert {(new.subject, new.ordering_key) for new in news.deliveries} == {("sink:mail", "sink:mail")}
    assert {new.deadline_at for new in news.deliveries} == {NOW + 60}
    assert {new.event_id for new in news.deliveries} == {news.event.id}


def test_news_that_nobody_else_gets_is_unrouted() -> None:
    """It stands in the ledger, and is sent nowhere."""
    only = Route(sinks=("mail",))
    other = Route(match=Match(event=("job.*",)), sinks=("chat",))
    for routes in ((), (only,), (only, other)):
        [delivery] = tell(SinkCondition(), *routes).deliveries
        assert delivery.sink == ""
