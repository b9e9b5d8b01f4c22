"""Routing: the sinks that an event goes to, and the failures that each of them is shown.

Routes are read from top to bottom and the first match wins, unless it has ``continue``. Patterns are shell
globs that must match the whole value, in its exact case.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache

from msgspec import Struct

from cmc_notify.core.events import Event, EventType, Failure, JobInfo

_WILDCARDS = frozenset("*?[")

Shown = tuple[int, ...] | None
"""Indices into ``event.failures`` that a sink is shown; None for all of them."""


class Match(Struct, frozen=True, kw_only=True):
    """The conditions of a route. An empty field matches all; an event without the field does not match."""

    event: tuple[str, ...] = ()
    controller: tuple[str, ...] = ()
    feature: tuple[str, ...] = ()
    serial: tuple[str, ...] = ()
    site_id: tuple[int, ...] = ()


class Route(Struct, frozen=True, kw_only=True):
    """One route. ``proceed`` is the config's ``continue``."""

    match: Match = Match()
    sinks: tuple[str, ...]
    proceed: bool = False
    per_failure: bool = False
    """True if each failure has its own ticket, at sinks that open tickets."""
    max_per_job: int = 50
    """If a job has more failures than this, they share the job's ticket nevertheless."""


def route(event: Event, routes: Iterable[Route], *, updating_sinks: Collection[str] = ()) -> dict[str, Shown]:
    """Return the sinks to notify, each with the failures that it is shown.

    ``job.progress`` goes only to ``updating_sinks``, which change a message in place. An event about a
    sink never goes to that sink, and a route that names no other sink does not end the search. If several
    routes lead to one sink, it is notified once, with all failures that any of them shows. Recoveries are
    not routed: they follow the failures that they end.
    """
    result: dict[str, Shown] = {}
    for each in routes:
        shown = _shown(event, each.match)
        if shown == ():
            continue
        for sink in each.sinks:
            if sink == event.sink:
                continue
            if event.type == EventType.JOB_PROGRESS and sink not in updating_sinks:
                continue
            result[sink] = _union(result[sink], shown) if sink in result else shown
        if not each.proceed and set(each.sinks) != {event.sink}:
            break
    return result


def matches(event: Event, rule: Route) -> bool:
    """Return True if the route shows anything of the event."""
    return _shown(event, rule.match) != ()


def failure_matches(failure: Failure, event: Event, match: Match) -> bool:
    """Return True if the failure matches serial and feature; a feature by its label or name."""
    if match.serial and not any_glob(match.serial, failure.serial):
        return False
    if not match.feature:
        return True
    names = [failure.feature]
    if event.job:
        names += [feature.name for feature in event.job.features if feature.id == failure.feature_id]
    return any(any_glob(match.feature, name) for name in names)


def any_glob(patterns: Sequence[str], value: str | None) -> bool:
    """Return True if any of the shell globs matches the whole value, in its exact case."""
    if value is None or not patterns:
        return False
    literals, globs = _compile(tuple(patterns))
    return value in literals or (globs is not None and globs(value) is not None)


@lru_cache(maxsize=1024)
def _compile(patterns: tuple[str, ...]) -> tuple[frozenset[str], Callable[[str], object] | None]:
    """Return the patterns without a wildcard, and one matcher for all others.

    A silence may have hundreds of patterns, and each failure is compared with every one.
    """
    wild = [pattern for pattern in patterns if not _WILDCARDS.isdisjoint(pattern)]
    matcher = re.compile("|".join(map(translate, wild))).match if wild else None
    return frozenset(patterns).difference(wild), matcher


def _shown(event: Event, match: Match) -> Shown:
    """Return None to show all, the indices of some failures, or an empty tuple for no match."""
    if match.event and not any_glob(match.event, event.type):
        return ()
    if match.controller and not any_glob(match.controller, event.controller):
        return ()
    if match.site_id and not (event.job and set(match.site_id) & set(event.job.targets.site_ids)):
        return ()
    if not match.feature and not match.serial:
        return None
    if event.failures:
        indices = tuple(
            i for i, failure in enumerate(event.failures) if failure_matches(failure, event, match)
        )
        return None if len(indices) == len(event.failures) else indices
    return None if event.job and _targets_match(event.job, match) else ()


def _targets_match(job: JobInfo, match: Match) -> bool:
    if match.serial and not any(any_glob(match.serial, serial) for serial in job.targets.serials):
        return False
    return not match.feature or any(
        any_glob(match.feature, name) for feature in job.features for name in (feature.label, feature.name)
    )


def _union(one: Shown, other: Shown) -> Shown:
    if one is None or other is None:
        return None
    return tuple(sorted({*one, *other}))
