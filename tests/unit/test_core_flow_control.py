"""How many messages may be begun at a sink, after whatever its attempts came to."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.flow_control import FAILURES_TO_OPEN, LONGEST_REST, FlowControl, FlowState
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy

NOW = 1000.0
POLICY = RetryPolicy(initial=5, max=3600, deadline=86400, probe=30)
SENT, LOST, BUSY = Sent(), Unclear("lost"), RetryLater("503")
REFUSED, REVOKED = Rejected("too large"), Blocked("token revoked")


def gate(concurrency: int = 4, retry: RetryPolicy = POLICY) -> FlowControl:
    """One that nothing has gone through."""
    return FlowControl(concurrency=concurrency, retry=retry)


def after(
    start: FlowControl,
    *outcomes: SendOutcome,
    now: float = NOW,
    begun_at: float | None = None,
    chance: float = 0.0,
) -> FlowControl:
    """After attempts that were begun and ended at ``now``."""
    for outcome in outcomes:
        start = start.after(outcome, begun_at=now if begun_at is None else begun_at, now=now, chance=chance)
    return start


def opened() -> FlowControl:
    """One that has just opened, and rests for 5 seconds."""
    return after(gate(), *[LOST] * FAILURES_TO_OPEN)


def test_a_new_gate_lets_through_what_the_sink_allows() -> None:
    """Up to ``concurrency`` at once, and never less than none."""
    assert [gate().room(NOW, busy) for busy in (0, 3, 4, 5)] == [4, 1, 0, 0]


def test_nothing_is_begun_before_the_time_that_the_receiver_names() -> None:
    """Retry-After holds for the whole sink, until that very moment."""
    paused = after(gate(), RetryLater("429", after=20))
    assert (paused.state, paused.reason) == (FlowState.PAUSED, "429")
    assert [paused.room(now, 0) for now in (NOW, NOW + 19.9, NOW + 20)] == [0, 0, 1]


def test_after_a_pause_one_more_goes_with_each_message_that_is_taken() -> None:
    """One at a time, then two, up to the sink's own number; the first one taken ends the pause."""
    paused = after(gate(), RetryLater("429", after=20))
    rooms = []
    for _ in range(5):
        rooms.append(paused.room(NOW + 20, 0))
        paused = after(paused, SENT, now=NOW + 20)
        assert paused.state is FlowState.CLOSED
    assert rooms == [1, 2, 3, 4, 4]


def test_what_was_begun_before_the_pause_neither_ends_nor_widens_it() -> None:
    """A message that was under way when another was told to wait says nothing about the limit."""
    paused = after(gate(), RetryLater("429", after=20), SENT, SENT, REFUSED, now=NOW, begun_at=NOW - 1)
    assert paused.state is FlowState.PAUSED
    assert paused.room(NOW + 19, 0) == 0
    assert paused.room(NOW + 20, 0) == 1


@pytest.mark.parametrize("trouble", [LOST, BUSY, RetryLater("503", after=0)])
def test_failures_in_a_row_open_the_circuit(trouble: SendOutcome) -> None:
    """So many and no fewer; then nothing goes until the first wait is over, and then one alone."""
    almost = after(gate(), *[trouble] * (FAILURES_TO_OPEN - 1))
    assert (almost.state, almost.room(NOW, 0)) == (FlowState.CLOSED, 4)
    now_open = after(almost, trouble)
    assert now_open.state is FlowState.OPEN
    assert [now_open.room(now, 0) for now in (NOW, NOW + 4.9, NOW + 5)] == [0, 0, 1]
    assert now_open.room(NOW + 5, 1) == 0


@pytest.mark.parametrize("judged", [SENT, REFUSED])
def test_a_judged_message_keeps_the_circuit_closed(judged: SendOutcome) -> None:
    """A receiver that refuses one message for what it is works; so does one that stumbles now and then."""
    some = [LOST] * (FAILURES_TO_OPEN - 1)
    assert after(gate(), *some, judged, *some).state is FlowState.CLOSED


def test_a_receiver_that_refuses_every_message_is_asked_at_full_speed() -> None:
    """Each message may be the first good one."""
    assert after(gate(), *[REFUSED] * 50) == gate()


def test_each_try_that_fails_makes_the_rest_longer_up_to_a_minute() -> None:
    """5, 10, 20, 40 and then 60 seconds, however long the deliveries' own waits become."""
    now, rests, it = NOW, [], opened()
    for _ in range(7):
        rests.append(it.opens_at - now)
        now = it.opens_at
        it = after(it, LOST, now=now)
    assert rests == [5, 10, 20, 40, LONGEST_REST, LONGEST_REST, LONGEST_REST]
    assert after(opened(), LOST, now=NOW + 5, chance=0.5).opens_at == NOW + 5 + 7.5


def test_a_sink_that_waits_less_rests_less() -> None:
    """``retry.max`` bounds the rest too."""
    it = after(gate(retry=RetryPolicy(initial=0.2, max=1)), *[LOST] * FAILURES_TO_OPEN)
    for _ in range(9):
        it = after(it, LOST, now=it.opens_at)
    assert it.opens_at - it.rests_until == 0
    assert it.rests_until == pytest.approx(NOW + 0.2 + 0.4 + 0.8 + 1 * 7)


def test_failures_of_what_was_begun_before_it_opened_make_no_rest_longer() -> None:
    """Four that hang at once fail at once: that is one opening, not four."""
    assert after(opened(), LOST, LOST, BUSY, begun_at=NOW - 20) == opened()
    assert after(opened(), LOST, now=NOW + 7, begun_at=NOW + 4) == opened()


@pytest.mark.parametrize("judged", [SENT, REFUSED])
def test_the_first_message_that_is_judged_closes_the_circuit(judged: SendOutcome) -> None:
    """The others follow, not all at once; a later opening begins with the shortest rest."""
    closed = after(after(opened(), LOST, now=NOW + 5), judged, now=NOW + 15)
    assert (closed.state, closed.room(NOW + 15, 0)) == (FlowState.CLOSED, 2)
    again = after(closed, *[LOST] * FAILURES_TO_OPEN, now=NOW + 20)
    assert again.opens_at == NOW + 25


def test_a_circuit_whose_try_is_told_to_wait_is_paused() -> None:
    """It speaks again, and its wish counts; a wish that came late only prolongs the rest."""
    told = after(opened(), RetryLater("429", after=40), now=NOW + 5)
    assert (told.state, told.room(NOW + 44, 0), told.room(NOW + 45, 0)) == (FlowState.PAUSED, 0, 1)
    late = after(opened(), RetryLater("429", after=40), begun_at=NOW - 1)
    assert (late.state, late.room(NOW + 39, 0), late.room(NOW + 40, 0)) == (FlowState.OPEN, 0, 1)


def test_a_blocked_sink_is_tried_with_one_message_at_each_probe() -> None:
    """Trouble that judges nothing leaves it blocked until the next probe; a judged message ends it."""
    blocked = after(gate(), REVOKED)
    assert (blocked.state, blocked.reason) == (FlowState.BLOCKED, "token revoked")
    assert [blocked.room(now, 0) for now in (NOW + 29, NOW + 30)] == [0, 1]
    assert blocked.room(NOW + 30, 1) == 0
    for trouble in (LOST, BUSY, RetryLater("429", after=7), REVOKED):
        blocked = after(blocked, trouble, now=blocked.opens_at)
        assert blocked.state is FlowState.BLOCKED
    assert blocked.opens_at == NOW + 30 * 5
    assert after(blocked, REFUSED, now=blocked.opens_at).state is FlowState.CLOSED


def test_a_wish_outlives_a_block() -> None:
    """Who asked for an hour gets it, also where somebody acts meanwhile."""
    it = after(gate(), RetryLater("429", after=3600), REVOKED, SENT, begun_at=NOW - 1)
    assert it.state is FlowState.PAUSED
    assert (it.room(NOW + 3599, 0), it.room(NOW + 3600, 0)) == (0, 1)


def test_only_what_waits_for_the_sink_ages() -> None:
    """Open, or paused until later: yes. A place that is taken, or an operator who has to act: no."""
    paused = after(gate(), RetryLater("429", after=20))
    assert [opened().ages(NOW), opened().ages(NOW + 5), paused.ages(NOW)] == [True, True, True]
    assert not any([gate().ages(NOW), paused.ages(NOW + 20), after(gate(), REVOKED).ages(NOW)])


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
    """The gates of a life of attempts that overlap as they like, each with the time it was made."""
    seen, now = [(start, NOW)], NOW
    for outcome, passed, lasted, chance in life:
        now += passed
        seen.append((seen[-1][0].after(outcome, begun_at=now - lasted, now=now, chance=chance), now))
    return seen


@given(st.integers(1, 6), policies, lives, st.integers(0, 6))
def test_room_is_bounded_and_never_gone_for_good(
    concurrency: int, policy: RetryPolicy, life: list[tuple[SendOutcome, float, float, float]], busy: int
) -> None:
    """Never more than the sink allows, one alone while open or blocked; at its time always one at least."""
    for it, now in live(gate(concurrency, policy), life):
        assert 0 <= it.room(now, busy) <= max(concurrency - busy, 0)
        assert it.room(it.opens_at, 0) >= 1
        assert it.opens_at <= now + max(LONGEST_REST, policy.probe, policy.deadline)
        if it.state in (FlowState.OPEN, FlowState.BLOCKED):
            assert it.room(it.opens_at, 0) == 1
            assert it.room(it.opens_at, busy + 1) == 0


@given(policies, lives)
def test_no_wish_of_a_receiver_is_ever_broken(
    policy: RetryPolicy, life: list[tuple[SendOutcome, float, float, float]]
) -> None:
    """Whatever follows a Retry-After, nothing is begun before it is over (or before the deadline)."""
    seen = live(gate(4, policy), life)
    for place, ((outcome, *_), (_, told_at)) in enumerate(zip(life, seen[1:], strict=True), start=1):
        if isinstance(outcome, RetryLater) and outcome.after and outcome.after > 0:
            until = told_at + min(outcome.after, policy.deadline)
            last = until - min(1e-3, outcome.after / 2)
            for it, made_at in seen[place:]:
                assert made_at > last or it.room(last, 0) == 0


def test_a_clock_that_is_set_back_ends_a_rest_instead_of_making_it_longer() -> None:
    """A sink is asked again by the corrected clock, and its next answer counts by that clock alone."""
    wrong = NOW + 18_000
    for trouble in (REVOKED, RetryLater("429", 30)):
        resting = after(gate(), trouble, now=wrong)
        assert resting.room(wrong - 1, 0) == 0
        assert resting.room(NOW, 0) == 1
        assert after(resting, SENT, now=NOW).state is FlowState.CLOSED
        again = after(resting, trouble, now=NOW)
        assert (again.opens_at, again.room(NOW, 0)) == (NOW + 30, 0)


@given(st.integers(1, 6), policies, lives)
def test_a_sink_that_works_again_gets_all_its_places_back(
    concurrency: int, policy: RetryPolicy, life: list[tuple[SendOutcome, float, float, float]]
) -> None:
    """From any state, one message taken for each place is enough."""
    it, _ = live(gate(concurrency, policy), life)[-1]
    for _ in range(concurrency):
        now = max(it.opens_at, NOW + 1e6)
        it = it.after(SENT, begun_at=now, now=now, chance=0)
    assert (it.state, it.room(it.opens_at, 0)) == (FlowState.CLOSED, concurrency)


@given(policies, lives)
def test_only_failures_in_a_row_open_it(
    policy: RetryPolicy, life: list[tuple[SendOutcome, float, float, float]]
) -> None:
    """Wherever it opens, the attempts before it judged nothing, and were at least as many as it takes."""
    seen = [it for it, _ in live(gate(4, policy), life)]
    for place, (before, it) in enumerate(pairwise(seen), start=1):
        if it.state is FlowState.OPEN and before.state is not FlowState.OPEN:
            last = [outcome for outcome, *_ in life[place - FAILURES_TO_OPEN : place]]
            assert len(last) == FAILURES_TO_OPEN
            assert all(isinstance(each, Unclear | RetryLater) for each in last)
