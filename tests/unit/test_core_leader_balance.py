"""Sharing names among replicas, whatever each would lead."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.leader_balance import may_take, names_to_release

NAMES = ["a", "b", "c", "d", "e", "f"]
candidates = st.dictionaries(
    st.sampled_from(["r1", "r2", "r3", "r4"]), st.frozensets(st.sampled_from(NAMES)), min_size=1
)


def loads_of(leaders: dict[str, str]) -> Counter[str]:
    """Return the number of names that each replica leads."""
    return Counter(leaders.values())


def turn(me: str, leaders: dict[str, str], wanted: dict[str, frozenset[str]]) -> bool:
    """Run one replica's turn; returns True if any leader changed."""
    before = dict(leaders)
    mine = [name for name, leader in leaders.items() if leader == me]
    for name in names_to_release(mine, me, loads_of(leaders), wanted):
        del leaders[name]
    for name in sorted(wanted[me] - leaders.keys()):
        if may_take(name, me, loads_of(leaders), wanted):
            leaders[name] = me
    return leaders != before


@given(candidates, st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["r1", "r2", "r3", "r4"])))
def test_the_replicas_come_to_rest_with_all_led(
    wanted: dict[str, frozenset[str]], leaders: dict[str, str]
) -> None:
    """From any beginning: soon nothing changes hands, all that can be led is, and no one has two more than
    another who could take one of them.
    """
    leaders = {name: leader for name, leader in leaders.items() if name in wanted.get(leader, ())}
    for _ in range(20):
        changes = [turn(me, leaders, wanted) for me in sorted(wanted)]
        if not any(changes):
            break
    else:
        raise AssertionError(f"no rest: {leaders}")
    assert leaders.keys() == {name for names in wanted.values() for name in names}
    loads = loads_of(leaders)
    for name, leader in leaders.items():
        assert all(loads[leader] - loads[other] < 2 for other, names in wanted.items() if name in names)


def test_no_more_changes_hands_than_has_to() -> None:
    """A third replica gets one of each, not an order of its own."""
    wanted = dict.fromkeys(("r1", "r2", "r3"), frozenset(NAMES))
    leaders = dict(zip(NAMES, ["r1", "r1", "r1", "r2", "r2", "r2"], strict=True))
    for me in ("r1", "r2", "r3"):
        turn(me, leaders, wanted)
    assert sorted(loads_of(leaders).values()) == [2, 2, 2]
    kept = [name for name, leader in leaders.items() if leader != "r3"]
    assert all(leaders[name] == ("r1" if name in "abc" else "r2") for name in kept)


def test_alone_everything_is_kept_and_taken() -> None:
    """A replica that nobody can relieve gives nothing away."""
    wanted = {"r1": frozenset(NAMES), "r2": frozenset[str]()}
    assert names_to_release(NAMES, "r1", Counter(r1=6), wanted) == []
    assert may_take("f", "r1", Counter(r1=5), wanted)
