"""The number of messages that may be sent to a sink at once, after any outcomes of its attempts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.circuit import FAILURES_TO_OPEN, MAX_OPEN_SECONDS, CircuitState
from cmc_notify.core.flow_control import FlowControl, FlowState
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy

NOW = 1000.0
POLICY = RetryPolicy(initial=5, max=3600, deadline=86400, probe=30)
SENT, LOST, BUSY = Sent(), Unclear("lost"), RetryLater("503")
REFUSED, REVOKED = Rejected("too large"), Blocked("token revoked")


def flow(concurrency: int = 4, retry: RetryPolicy = POLICY) -> FlowControl:
    """Return one without any attempt yet."""
    return FlowControl(concurrency=concurrency, retry=retry)


def after(
    start: FlowControl,
    *outcomes: SendOutcome,
    now: float = NOW,
    begun_at: float | None = None,
    chance: float = 0.0,
) -> FlowControl:
    """Return it after attempts that began and ended at ``now``."""
    for outcome in outcomes:
        start = start.after(outcome, begun_at=now if begun_at is None else begun_at, now=now, chance=chance)
    return start


def opened() -> FlowControl:
    """Return one whose circuit has just opened, for 5 seconds."""
    return after(flow(), *[LOST] * FAILURES_TO_OPEN)


def test_a_new_flow_control_allows_what_the_sink_allows() -> None:
    """Up to ``concurrency`` at once, and never less than none."""
    assert [flow().capacity(NOW, busy) for busy in (0, 3, 4, 5)] == [4, 1, 0, 0]


def test_nothing_is_sent_before_the_time_that_the_receiver_names() -> None:
    """Retry-After holds for the whole sink, until exactly that time."""
    throttled = after(flow(), RetryLater("429", after=20))
    assert (throttled.state, throttled.reason) == (FlowState.THROTTLED, "429")
    assert [throttled.capacity(now, 0) for now in (NOW, NOW + 19.9, NOW + 20)] == [0, 0, 1]


def test_after_throttling_one_more_is_sent_with_each_accepted_message() -> None:
    """One at a time, then two, up to the sink's limit; the first accepted message ends the throttling."""
    throttled = after(flow(), RetryLater("429", after=20))
    capacities = []
    for _ in range(5):
        capacities.append(throttled.capacity(NOW + 20, 0))
        throttled = after(throttled, SENT, now=NOW + 20)
        assert throttled.state is FlowState.NORMAL
    assert capacities == [1, 2, 3, 4, 4]


def test_messages_sent_before_the_throttling_neither_end_nor_loosen_it() -> None:
    """A message in flight when another got a Retry-After says nothing about the limit."""
    throttled = after(flow(), RetryLater("429", after=20), SENT, SENT, REFUSED, now=NOW, begun_at=NOW - 1)
    assert throttled.state is FlowState.THROTTLED
    assert throttled.capacity(NOW + 19, 0) == 0
    assert throttled.capacity(NOW + 20, 0) == 1


@pytest.mark.parametrize("trouble", [LOST, BUSY, RetryLater("503", after=0)])
def test_enough_failures_in_a_row_open_the_circuit(trouble: SendOutcome) -> None:
    """That many and no fewer; then nothing is sent until the first wait is over, and then one alone."""
    almost = after(flow(), *[trouble] * (FAILURES_TO_OPEN - 1))
    assert (almost.state, almost.capacity(NOW, 0)) == (FlowState.NORMAL, 4)
    now_open = after(almost, trouble)
    assert now_open.state is FlowState.CIRCUIT_OPEN
    states = [now_open.circuit.state(now) for now in (NOW, NOW + 4.9, NOW + 5)]
    assert states == [CircuitState.OPEN, CircuitState.OPEN, CircuitState.HALF_OPEN]
    assert [now_open.capacity(now, 0) for now in (NOW, NOW + 4.9, NOW + 5)] == [0, 0, 1]
    assert now_open.capacity(NOW + 5, 1) == 0


@pytest.mark.parametrize("judged", [SENT, REFUSED])
def test_a_judged_message_keeps_the_circuit_closed(judged: SendOutcome) -> None:
    """A receiver that rejects one message works; so does one that fails now and then."""
    some = [LOST] * (FAILURES_TO_OPEN - 1)
    assert after(flow(), *some, judged, *some).state is FlowState.NORMAL


def test_a_receiver_that_rejects_every_message_is_sent_to_at_full_speed() -> None:
    """Each message may be the first one that it accepts."""
    assert after(flow(), *[REFUSED] * 50) == flow()


def test_each_failed_try_keeps_the_circuit_open_longer_up_to_a_minute() -> None:
    """5, 10, 20, 40 and then 60 seconds, however long the deliveries' own waits become."""
    now, waits, it = NOW, [], opened()
    for _ in range(7):
        waits.append(it.next_start_at - now)
        now = it.next_start_at
        it = after(it, LOST, now=now)
    assert waits == [5, 10, 20, 40, MAX_OPEN_SECONDS, MAX_OPEN_SECONDS, MAX_OPEN_SECONDS]
    assert after(opened(), LOST, now=NOW + 5, chance=0.5).next_start_at == NOW + 5 + 7.5


def test_retry_max_limits_how_long_the_circuit_stays_open() -> None:
    """A sink with shorter retries is tried again sooner."""
    it = after(flow(retry=RetryPolicy(initial=0.2, max=1)), *[LOST] * FAILURES_TO_OPEN)
    for _ in range(9):
        it = after(it, LOST, now=it.next_start_at)
    assert it.next_start_at - it.circuit.open_until == 0
    assert it.circuit.open_until == pytest.approx(NOW + 0.2 + 0.4 + 0.8 + 1 * 7)


def test_failures_of_messages_sent_before_it_opened_do_not_keep_it_open_longer() -> None:
    """Four that hang at once fail at once: that is one opening, not four."""
    assert after(opened(), LOST, LOST, BUSY, begun_at=NOW - 20) == opened()
    assert after(opened(), LOST, now=NOW + 7, begun_at=NOW + 4) == opened()


@pytest.mark.parametrize("judged", [SENT, REFUSED])
def test_the_first_message_that_is_judged_closes_the_circuit(judged: SendOutcome) -> None:
    """The others follow, not all at once; a later opening begins with the shortest wait."""
    closed = after(after(opened(), LOST, now=NOW + 5), judged, now=NOW + 15)
    assert (closed.state, closed.capacity(NOW + 15, 0)) == (FlowState.NORMAL, 2)
    again = after(closed, *[LOST] * FAILURES_TO_OPEN, now=NOW + 20)
    assert again.next_start_at == NOW + 25


def test_an_open_circuit_whose_try_gets_a_retry_after_is_throttled() -> None:
    """It responds again, so its Retry-After counts; one that came late only makes the wait longer."""
    answered = after(opened(), RetryLater("429", after=40), now=NOW + 5)
    assert (answered.state, answered.capacity(NOW + 44, 0), answered.capacity(NOW + 45, 0)) == (
        FlowState.THROTTLED,
        0,
        1,
    )
    late = after(opened(), RetryLater("429", after=40), begun_at=NOW - 1)
    assert (late.state, late.capacity(NOW + 39, 0), late.capacity(NOW + 40, 0)) == (
        FlowState.CIRCUIT_OPEN,
        0,
        1,
    )


def test_a_blocked_sink_is_tried_with_one_message_at_each_probe() -> None:
    """Trouble that judges nothing leaves it blocked until the next probe; a judged message ends it."""
    blocked = after(flow(), REVOKED)
    assert (blocked.state, blocked.reason) == (FlowState.BLOCKED, "token revoked")
    assert [blocked.capacity(now, 0) for now in (NOW + 29, NOW + 30)] == [0, 1]
    assert blocked.capacity(NOW + 30, 1) == 0
    for trouble in (LOST, BUSY, RetryLater("429", after=7), REVOKED):
        blocked = after(blocked, trouble, now=blocked.next_start_at)
        assert blocked.state is FlowState.BLOCKED
    assert blocked.next_start_at == NOW + 30 * 5
    assert after(blocked, REFUSED, now=blocked.next_start_at).state is FlowState.NORMAL


def test_a_retry_after_outlives_a_block() -> None:
    """A receiver that asked for an hour gets it, also where an operator acts meanwhile."""
    it = after(flow(), RetryLater("429", after=3600), REVOKED, SENT, begun_at=NOW - 1)
    assert it.state is FlowState.THROTTLED
    assert (it.capacity(NOW + 3599, 0), it.capacity(NOW + 3600, 0)) == (0, 1)


def test_deadlines_apply_only_to_what_waits_for_the_sink() -> None:
    """Circuit open, or throttled until later: yes. No free slot, or an operator who has to act: no."""
    throttled = after(flow(), RetryLater("429", after=20))
    assert [
        opened().deadlines_apply(NOW),
        opened().deadlines_apply(NOW + 5),
        throttled.deadlines_apply(NOW),
    ] == [True, True, True]
    assert not any(
        [
            flow().deadlines_apply(NOW),
            throttled.deadlines_apply(NOW + 20),
            after(flow(), REVOKED).deadlines_apply(NOW),
        ]
    )


outcomes = st.one_of(
    st.sampled_from([SENT, REFUSED, REVOKED, LOST, BUSY]),
    st.builds(RetryLater, st.just("429"), st.floats(-5, 1e6)),
)
policies = st.builds(
    RetryPolicy,
    initial=st.floats(0.01, 60),
    max=st.floats(60, 86400),
    deadline=st.floats(60, 1e5),
    probe=st.floats(0.1, 60),
)
lives = st.lists(st.tuples(outcomes, st.floats(0, 100), st.floats(0, 50), st.floats(0, 0.99)), max_size=40)


def live(
    start: FlowControl, life: list[tuple[SendOutcome, float, float, float]]
) -> list[tuple[FlowControl, float]]:
    """Return each state in a life of attempts that overlap in any way, with the time it was made."""
    seen, now = [(start, NOW)], NOW
    for outcome, passed, lasted, chance in life:
        now += passed
        seen.append((seen[-1][0].after(outcome, begun_at=now - lasted, now=now, chance=chance), now))
    return seen


@given(st.integers(1, 6), policies, lives, st.integers(0, 6))
def test_capacity_is_limited_and_never_lost_for_good(
    concurrency: int, policy: RetryPolicy, life: list[tuple[SendOutcome, float, float, float]], busy: int
) -> None:
    """Never more than the sink allows, one alone while open or blocked; at its time always one at least."""
    for it, now in live(flow(concurrency, policy), life):
        assert 0 <= it.capacity(now, busy) <= max(concurrency - busy, 0)
        assert it.capacity(it.next_start_at, 0) >= 1
        assert it.next_start_at <= now + max(MAX_OPEN_SECONDS, policy.probe, policy.deadline)
        if it.state in (FlowState.CIRCUIT_OPEN, FlowState.BLOCKED):
            assert it.capacity(it.next_start_at, 0) == 1
            assert it.capacity(it.next_start_at, busy + 1) == 0


@given(policies, lives)
def test_no_retry_after_is_ever_ignored(
    policy: RetryPolicy, life: list[tuple[SendOutcome, float, float, float]]
) -> None:
    """Whatever follows a Retry-After, nothing is sent before it is over (or before the deadline)."""
    seen = live(flow(4, policy), life)
    for place, ((outcome, *_), (_, asked_at)) in enumerate(zip(life, seen[1:], strict=True), start=1):
        if isinstance(outcome, RetryLater) and outcome.after and outcome.after > 0:
            until = asked_at + min(outcome.after, policy.deadline)
            last = until - min(1e-3, outcome.after / 2)
            for it, made_at in seen[place:]:
                assert made_at > last or it.capacity(last, 0) == 0


def test_a_clock_that_is_set_back_ends_a_wait_instead_of_making_it_longer() -> None:
    """A sink is tried again by the corrected clock, and its next outcome counts by that clock alone."""
    wrong = NOW + 18_000
    for trouble in (REVOKED, RetryLater("429", 30)):
        waiting = after(flow(), trouble, now=wrong)
        assert waiting.capacity(wrong - 1, 0) == 0
        assert waiting.capacity(NOW, 0) == 1
        assert after(waiting, SENT, now=NOW).state is FlowState.NORMAL
        again = after(waiting, trouble, now=NOW)
        assert (again.next_start_at, again.capacity(NOW, 0)) == (NOW + 30, 0)


@given(st.integers(1, 6), policies, lives)
def test_a_sink_that_works_again_gets_its_whole_concurrency_back(
    concurrency: int, policy: RetryPolicy, life: list[tuple[SendOutcome, float, float, float]]
) -> None:
    """From any state, one accepted message for each slot is enough."""
    it, _ = live(flow(concurrency, policy), life)[-1]
    for _ in range(concurrency):
        now = max(it.next_start_at, NOW + 1e6)
        it = it.after(SENT, begun_at=now, now=now, chance=0)
    assert (it.state, it.capacity(it.next_start_at, 0)) == (FlowState.NORMAL, concurrency)


@given(policies, lives)
def test_only_failures_in_a_row_open_the_circuit(
    policy: RetryPolicy, life: list[tuple[SendOutcome, float, float, float]]
) -> None:
    """Wherever it opens, the attempts before it judged nothing, and were at least as many as it takes."""
    seen = [it for it, _ in live(flow(4, policy), life)]
    for place, (before, it) in enumerate(pairwise(seen), start=1):
        if it.state is FlowState.CIRCUIT_OPEN and before.state is not FlowState.CIRCUIT_OPEN:
            last = [outcome for outcome, *_ in life[place - FAILURES_TO_OPEN : place]]
            assert len(last) == FAILURES_TO_OPEN
            assert all(isinstance(each, Unclear | RetryLater) for each in last)
