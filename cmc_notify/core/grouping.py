"""Groups of failures with one cause: equal (feature, error text), with all the appliances that have it.

Nothing is left out: the members of all groups are the given failures, in their order.
"""

from collections.abc import Iterable

from msgspec import Struct

from cmc_notify.core.events import Failure, Recovery


class Member(Struct, frozen=True):
    """One appliance of a group."""

    serial: str | None
    appliance: str | None
    new: bool


class Group(Struct, frozen=True):
    """One feature that failed with one error text on all of ``members``, of which ``new`` are new."""

    feature_id: int | None
    feature: str | None
    error_text: str | None
    members: tuple[Member, ...]
    new: int


class ErrorGroup(Struct, frozen=True):
    """One error text, with every appliance that has it and the names of the features, in their order."""

    error_text: str | None
    features: tuple[str, ...]
    members: tuple[Failure, ...]
    new: int


class RecoveryGroup(Struct, frozen=True):
    """One feature that works again on all of ``members``, left failed by one job."""

    feature_id: int | None
    feature: str | None
    failed_since: str
    """The time at which the first of them was announced."""
    failed_job_id: int
    members: tuple[Member, ...]


def group_failures(failures: Iterable[Failure]) -> tuple[Group, ...]:
    """Return the groups, the largest first; equal sizes, and all members, in the order of the failures."""
    found: dict[tuple[int | None, str | None, str | None], list[Member]] = {}
    for failure in failures:
        key = (failure.feature_id, failure.feature, failure.error_text)
        found.setdefault(key, []).append(Member(failure.serial, failure.appliance, failure.new))
    groups = (
        Group(*key, members=tuple(members), new=sum(member.new for member in members))
        for key, members in found.items()
    )
    return tuple(sorted(groups, key=lambda group: -len(group.members)))


def group_by_error(failures: Iterable[Failure]) -> tuple[ErrorGroup, ...]:
    """Return groups by error text alone, whatever the feature, in the order of ``group_failures``."""
    found: dict[str | None, list[Failure]] = {}
    for failure in failures:
        found.setdefault(failure.error_text, []).append(failure)
    groups = (
        ErrorGroup(
            error_text=text,
            features=tuple(dict.fromkeys(member.feature for member in members if member.feature)),
            members=tuple(members),
            new=sum(member.new for member in members),
        )
        for text, members in found.items()
    )
    return tuple(sorted(groups, key=lambda group: -len(group.members)))


def group_recoveries(recoveries: Iterable[Recovery]) -> tuple[RecoveryGroup, ...]:
    """Return groups by feature and failed job, the largest first. No member is ``new``."""
    found: dict[tuple[int | None, str | None, int], list[Recovery]] = {}
    for recovery in recoveries:
        found.setdefault((recovery.feature_id, recovery.feature, recovery.failed_job_id), []).append(recovery)
    groups = (
        RecoveryGroup(
            feature_id=feature_id,
            feature=feature,
            failed_since=min(recovery.failed_since for recovery in members),
            failed_job_id=failed_job_id,
            members=tuple(Member(each.serial, each.appliance, new=False) for each in members),
        )
        for (feature_id, feature, failed_job_id), members in found.items()
    )
    return tuple(sorted(groups, key=lambda group: -len(group.members)))
