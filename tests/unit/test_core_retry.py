"""The result of an attempt for its delivery."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.retry import RetryPolicy, backoff, decide

POLICY = RetryPolicy(initial=5, max=3600, deadline=86400, probe=30)
NOW, DEADLINE = 1000.0, 2000.0
FALLBACK = NewDelivery(
    id="e-mail-for-chat", event_id="e", sink="mail", subject="s", ordering_key="s", due_at=0, deadline_at=1
)

attempts = st.integers(1, 500)
chances = st.floats(0, 1, exclude_max=True)
policies = st.builds(
    RetryPolicy, initial=st.floats(0.01, 60), max=st.floats(60, 86400), deadline=st.floats(60, 1e6)
)


def verdict(
    outcome: SendOutcome, *, now: float = NOW, attempt: int = 1, unclear: bool = False
) -> AttemptResult:
    """On an attempt with no luck either way."""
    return decide(
        outcome,
        attempts=attempt,
        now=now,
        deadline_at=DEADLINE,
        policy=POLICY,
        chance=0.0,
        fallback=FALLBACK,
        unclear=unclear,
    )


@given(attempts, policies, chances)
def test_the_wait_is_bounded_and_chance_takes_off_half_at_most(
    attempt: int, policy: RetryPolicy, chance: float
) -> None:
    """No wait exceeds max, and what chance takes is at most half of the whole wait."""
    whole = backoff(attempt, policy, 0.0)
    assert whole / 2 <= backoff(attempt, policy, chance) <= whole <= policy.max


@given(attempts, policies, chances)
def test_waits_grow_and_double_until_they_are_longest(
    attempt: int, policy: RetryPolicy, chance: float
) -> None:
    """A later attempt never waits less; below max it waits twice as long."""
    one, next_one = backoff(attempt, policy, chance), backoff(attempt + 1, policy, chance)
    assert one <= next_one
    if backoff(attempt + 1, policy, 0.0) < policy.max:
        assert next_one == pytest.approx(2 * one)


def test_the_first_wait_is_the_initial_one() -> None:
    """After the first failure the delivery waits ``initial``, after the second twice that."""
    assert [backoff(n, POLICY, 0.0) for n in (1, 2, 3)] == [5, 10, 20]


def test_what_was_accepted_is_done() -> None:
    """Sent ends the delivery with its receipt, in doubt or not."""
    done = verdict(Sent("ts-1"), unclear=True)
    assert (done.state, done.receipt, done.unclear) == (DeliveryState.SENT, "ts-1", False)
    assert done.fallback is None


def test_a_resolve_that_was_accepted_names_what_the_fallback_may_get() -> None:
    """Nothing else that was sent does."""
    done = decide(
        Sent("ts-1"),
        attempts=1,
        now=NOW,
        deadline_at=DEADLINE,
        policy=POLICY,
        chance=0.0,
        fallback=FALLBACK,
        resolves=True,
    )
    assert (done.state, done.fallback) == (DeliveryState.SENT, FALLBACK)


def test_what_will_never_be_taken_is_dead_at_once() -> None:
    """Rejected is a dead letter, and the fallback goes out."""
    dead = verdict(Rejected("too long"))
    assert (dead.state, dead.error, dead.fallback) == (DeliveryState.DEAD, "too long", FALLBACK)


@given(st.floats(0, 1e9), attempts)
def test_a_blocked_sink_never_makes_a_dead_letter(late: float, attempt: int) -> None:
    """However late: it is probed again, and the attempt does not count."""
    held = verdict(Blocked("token revoked"), now=NOW + late, attempt=attempt)
    assert held.state is DeliveryState.PENDING
    assert held.due_at == NOW + late + 30
    assert not held.counts_as_attempt
    assert held.fallback is None


@pytest.mark.parametrize("outcome", [RetryLater("503"), Unclear("cut")])
def test_what_may_still_be_taken_waits(outcome: SendOutcome) -> None:
    """It is due again after its wait; only an unclear one is to be looked for first."""
    again = verdict(outcome, attempt=3)
    assert (again.state, again.due_at, again.fallback) == (DeliveryState.PENDING, NOW + 20, None)
    assert again.counts_as_attempt
    assert again.unclear is isinstance(outcome, Unclear)


@pytest.mark.parametrize("outcome", [RetryLater("503"), Blocked("revoked"), Rejected("bad"), Unclear("cut")])
def test_a_doubt_outlives_what_comes_after_it(outcome: SendOutcome) -> None:
    """An earlier attempt may have arrived, whatever this outcome is: the next must check first."""
    assert verdict(outcome, unclear=True).unclear


@pytest.mark.parametrize("outcome", [RetryLater("503"), Unclear("cut")])
def test_the_last_attempt_falls_on_the_deadline(outcome: SendOutcome) -> None:
    """A wait beyond the deadline is cut to it; after it the delivery is dead and the fallback goes out."""
    last = verdict(outcome, now=DEADLINE - 1, attempt=9)
    assert (last.state, last.due_at) == (DeliveryState.PENDING, DEADLINE)
    dead = verdict(outcome, now=DEADLINE, attempt=10)
    assert (dead.state, dead.fallback) == (DeliveryState.DEAD, FALLBACK)
    assert "deadline" in (dead.error or "")


def test_the_receivers_retry_after_is_honoured() -> None:
    """Retry-After takes the place of our wait, however many attempts there were."""
    assert verdict(RetryLater("429", after=7.5), attempt=9).due_at == NOW + 7.5
    assert verdict(RetryLater("429", after=300), attempt=1).due_at == NOW + 300


def test_a_retry_after_beyond_the_deadline_is_the_end() -> None:
    """A receiver that takes nothing until after the deadline leaves it to the fallback now."""
    dead = verdict(RetryLater("429", after=1001))
    assert (dead.state, dead.fallback) == (DeliveryState.DEAD, FALLBACK)


@pytest.mark.parametrize("after", [0.0, 0.001, -5.0])
def test_a_receiver_that_says_at_once_is_not_hammered(after: float) -> None:
    """``Retry-After: 0`` must not become a busy loop."""
    due = verdict(RetryLater("429", after=after)).due_at
    assert due is not None
    assert due >= NOW + 1


@given(st.one_of(st.none(), st.floats(0, 1e7)), attempts, chances, st.floats(0, 1e6), policies)
def test_every_retry_lies_ahead_and_not_beyond_the_deadline(
    after: float | None, attempt: int, chance: float, now: float, policy: RetryPolicy
) -> None:
    """Pending means due later than now, by the deadline at the latest; else it is dead."""
    got = decide(
        RetryLater("x", after), attempts=attempt, now=now, deadline_at=5e5, policy=policy, chance=chance
    )
    if got.state is DeliveryState.PENDING:
        assert got.due_at is not None
        assert now < got.due_at <= 5e5
    else:
        assert got.state is DeliveryState.DEAD
        assert now >= 5e5 or (after or 0) > 0
