"""Grouping of failures by cause."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.events import Failure, Recovery
from cmc_notify.core.grouping import Member, group_failures, group_recoveries

_short = st.none() | st.sampled_from(["a", "b", "c"])
_failures = st.lists(
    st.builds(
        Failure,
        serial=_short,
        appliance=_short,
        feature_id=st.none() | st.integers(1, 3),
        feature=_short,
        error_text=_short,
        new=st.booleans(),
    ),
    max_size=30,
)


@given(_failures)
def test_nothing_is_lost_or_doubled(failures: list[Failure]) -> None:
    """The members of the groups are the failures, each once, with its feature, text and newness."""
    told = Counter(
        (member.serial, member.appliance, group.feature_id, group.feature, group.error_text, member.new)
        for group in group_failures(failures)
        for member in group.members
    )
    assert told == Counter(
        (each.serial, each.appliance, each.feature_id, each.feature, each.error_text, each.new)
        for each in failures
    )


@given(_failures)
def test_groups_are_distinct_and_the_largest_comes_first(failures: list[Failure]) -> None:
    """One group for each feature and text; sizes fall; equal sizes keep the order of the failures."""
    groups = group_failures(failures)
    keys = [(group.feature_id, group.feature, group.error_text) for group in groups]
    assert len(set(keys)) == len(keys)
    first_seen = list(dict.fromkeys((each.feature_id, each.feature, each.error_text) for each in failures))
    ranks = [(-len(group.members), first_seen.index(key)) for group, key in zip(groups, keys, strict=True)]
    assert ranks == sorted(ranks)
    assert all(group.new == sum(member.new for member in group.members) for group in groups)


def test_recoveries_are_grouped_by_feature_and_failed_job() -> None:
    """Appliances left failed by one job are told together, since the first of them failed."""
    groups = group_recoveries(
        [
            Recovery("S3", None, 5, "SNMP", "2026-11-23T09:00:00Z", 38),
            Recovery("S1", "paris", 3, "QoS", "2026-11-23T09:00:00Z", 40),
            Recovery("S2", None, 3, "QoS", "2026-11-23T08:00:00Z", 40),
            Recovery("S4", None, 3, "QoS", "2026-11-23T07:00:00Z", 41),
        ]
    )
    assert [(group.feature, group.failed_job_id, group.failed_since) for group in groups] == [
        ("QoS", 40, "2026-11-23T08:00:00Z"),
        ("SNMP", 38, "2026-11-23T09:00:00Z"),
        ("QoS", 41, "2026-11-23T07:00:00Z"),
    ]
    assert groups[0].members == (Member("S1", "paris", new=False), Member("S2", None, new=False))
