"""The cutoff of a poll, the identity of a job, and the proof that filters work."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.job_filters import OVERLAP, RECENT, FilterProof, Identity, cutoff, new_uid, resolve
from cmc_notify.core.model import Job

times = st.one_of(st.none(), st.integers(0, 100_000))


def jobs(*creation_times: int | None) -> list[Identity]:
    """Known jobs in the order of their discovery."""
    return [Identity(f"u{n}", n, created, n) for n, created in enumerate(creation_times, 1)]


def test_a_poll_observations_back_ten_minutes_from_the_newest() -> None:
    """Of many old jobs only the newest's time counts, one second earlier for an exclusive bound."""
    recent = [10_000] * RECENT
    assert cutoff(jobs(5, *recent)) == 10_000 - OVERLAP - 1


def test_a_poll_observations_back_to_the_oldest_of_the_last_twenty_discovered() -> None:
    """Jobs can appear out of order: an old one found late widens the cutoff, the twenty-first does not."""
    late = [100, *[10_000] * (RECENT - 1)]
    assert cutoff(jobs(10_000, *late)) == 99
    assert cutoff(jobs(*late, 10_000)) == 10_000 - OVERLAP - 1


def test_without_creation_times_there_is_no_bound() -> None:
    """Then the list is asked for without after."""
    assert cutoff([]) is None
    assert cutoff(jobs(None, None)) is None


@given(st.lists(times, max_size=60))
def test_the_bound_never_skips_what_it_must_show(created: list[int | None]) -> None:
    """Whatever is known, the last ten minutes and the last twenty lie strictly behind ``after``."""
    known = jobs(*created)
    after = cutoff(known)
    dated = [time for time in created if time is not None]
    assert (after is None) == (not dated)
    if after is not None:
        assert after < max(dated) - OVERLAP + 1
        assert all(after < time for time in created[-RECENT:] if time is not None)
        assert after >= min(*dated, max(dated) - OVERLAP) - 1


def test_an_id_names_the_job_of_the_same_creation_time() -> None:
    """Among jobs that shared an id, the one created then."""
    known = [Identity("5-1", 5, 1, 1), Identity("5-2", 5, 2, 2), Identity("5-x", 5, None, 3)]
    assert resolve(known, 1) == "5-1"
    assert resolve(known, 2) == "5-2"


def test_another_known_creation_time_is_another_job() -> None:
    """Both must be known: a controller restored from a backup uses ids again."""
    assert resolve([Identity("5-1", 5, 1, 1)], 2) is None
    assert resolve([], 1) is None


@pytest.mark.parametrize(
    ("known", "created"),
    [((None,), 7), ((7,), None), ((None,), None)],
)
def test_an_unknown_creation_time_proves_no_other_job(
    known: Sequence[int | None], created: int | None
) -> None:
    """If either is unknown, the id alone names the job."""
    assert resolve([Identity("u", 5, time, 1) for time in known], created) == "u"


def test_of_several_that_it_may_be_it_is_the_youngest() -> None:
    """An observation without a creation time belongs to the job that was discovered last."""
    assert resolve([Identity("a", 5, 1, 8), Identity("b", 5, 2, 9), Identity("c", 5, 3, 7)], None) == "b"
    assert resolve([Identity("a", 5, None, 8), Identity("b", 5, 2, 9)], 3) == "a"


@given(st.sets(st.sampled_from(["5-7", "5-7-2", "5-7-3", "5-x"])), times)
def test_a_new_name_is_never_taken(taken: set[str], created: int | None) -> None:
    """However many jobs had the id, and it always begins with the id."""
    uid = new_uid(Job(id=5, status="Queued", creation_time=created), taken)
    assert uid not in taken
    assert uid.startswith("5-")


def test_names_are_made_of_id_and_creation_time() -> None:
    """They are the same on every replica."""
    assert new_uid(Job(id=5, status="Queued", creation_time=7), ()) == "5-7"
    assert new_uid(Job(id=5, status="Queued"), ()) == "5-x"
    assert new_uid(Job(id=5, status="Queued"), {"5-x"}) == "5-x-2"


# --- the proof of the filters -----------------------------------------------------------------------------

FULL = {"old": 10, "new": 100, "queued_old": 10, "undated": None}


def proof(by_status: set[str], by_time: set[str], *, after: int | None = 50) -> FilterProof:
    """Of a controller with four jobs, one of them Queued."""
    return FilterProof(
        created=FULL,
        waiting=frozenset({"queued_old"}),
        by_status=frozenset(by_status),
        by_time=frozenset(by_time),
        after=after,
    )


def test_filters_that_show_what_they_should_miss_nothing() -> None:
    """Old finished jobs need not be shown."""
    good = proof({"queued_old"}, {"new", "undated"})
    assert good.missed() == []
    assert not good.ignored()


@pytest.mark.parametrize(
    ("by_status", "by_time", "missed"),
    [
        (set(), {"new", "undated"}, ["queued_old"]),
        ({"queued_old"}, {"undated"}, ["new"]),
        ({"queued_old"}, {"new"}, ["undated"]),
        (set(), set(), ["new", "queued_old", "undated"]),
        (set(), {"new", "undated", "queued_old"}, []),
    ],
)
def test_filters_that_hide_a_job_are_found_out(
    by_status: set[str], by_time: set[str], missed: list[str]
) -> None:
    """A waiting, a recent and an undated job must be in one of the lists, whichever."""
    assert proof(by_status, by_time).missed() == missed


def test_the_bound_itself_need_not_be_shown() -> None:
    """The bound may be exclusive; it lies a second early for that."""
    assert proof({"queued_old"}, {"undated"}, after=100).missed() == []
    assert proof({"queued_old"}, {"undated"}, after=99).missed() == ["new"]


def test_without_a_bound_everything_must_be_shown() -> None:
    """A list without after is a full list."""
    assert proof({"queued_old"}, {"new", "undated"}, after=None).missed() == ["old"]


def test_a_filter_that_shows_everything_is_ignored() -> None:
    """If status or time is not honoured, one plain list costs less."""
    assert proof(set(FULL), set(FULL)).ignored()
    assert proof(set(FULL), {"new"}).ignored()
    assert proof({"queued_old"}, set(FULL)).ignored()
    assert not proof({"queued_old"}, {"new"}).ignored()


def test_everything_is_no_proof_where_everything_was_asked_for() -> None:
    """If all jobs are open, or all are recent, the full list is the right response."""
    whole = frozenset({"a"})
    for waiting, created in ((whole, 10), (frozenset[str](), 100)):
        right = FilterProof(
            created={"a": created}, waiting=waiting, by_status=waiting, by_time=whole - waiting, after=50
        )
        assert not right.ignored()
    empty = FilterProof(
        created={}, waiting=frozenset(), by_status=frozenset(), by_time=frozenset(), after=None
    )
    assert not empty.ignored()
    assert empty.missed() == []
