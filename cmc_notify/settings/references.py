"""Checks names that refer to other parts: routes and fallbacks name sinks, matchers name controllers.

Works on parts, so that one invalid part does not hide errors between the others.
"""

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase

from cmc_notify.core.events import EventType
from cmc_notify.settings.base import SinkSettings
from cmc_notify.settings.document import Problem
from cmc_notify.settings.routes import MatchSettings, RouteSettings
from cmc_notify.settings.suggestions import did_you_mean

_EVENT_TYPES = frozenset(event_type.value for event_type in EventType)
_ABOUT_SINKS = frozenset({EventType.SINK_FAILING.value, EventType.SINK_RECOVERED.value})


def reference_problems(
    controllers: Collection[str],
    fallbacks: Mapping[str, str | None],
    routes: Mapping[int, RouteSettings],
    broken: Collection[int] = (),
) -> Iterator[Problem]:
    """Yield every reference to something that does not exist, and every route that is never reached.

    ``fallbacks`` has every sink; of the ``broken`` routes only the names are known.
    """
    if not controllers:
        yield Problem(
            ("controllers",), "there is none; add one, for example `emea: {url: https://cmc.example.net}`"
        )
    if not fallbacks:
        yield Problem(("sinks",), "there is none; add one, for example `screen: {type: console}`")
    if not routes:
        first = min(fallbacks, default="screen")
        yield Problem(("routes",), f"there is none, so nothing would be sent; add `- sinks: [{first}]`")
    for index, route in routes.items():
        yield from _unknown_names(index, route, controllers, fallbacks)
    yield from _bad_fallbacks(fallbacks)
    yield from _unreachable(
        {index: route for index, route in routes.items() if index not in broken}, controllers
    )


def _unknown_names(
    index: int, route: RouteSettings, controllers: Collection[str], sinks: Collection[str]
) -> Iterator[Problem]:
    seen = set[str]()
    for position, sink in enumerate(route.sinks):
        if sink not in sinks:
            yield Problem(("routes", index, "sinks", position), _no_such("sink", sink, sinks))
        elif sink in seen:
            yield Problem(("routes", index, "sinks", position), f"{sink} is named twice; keep one")
        seen.add(sink)
    for position, pattern in enumerate(route.match.controller):
        if controllers and not any(fnmatchcase(name, pattern) for name in controllers):
            yield Problem(
                ("routes", index, "match", "controller", position),
                _no_such("controller", pattern, controllers),
            )


def _no_such(kind: str, name: str, known: Collection[str]) -> str:
    hint = did_you_mean(name, known)
    configured = f"write one of {', '.join(sorted(known))}" if known else f"configure a {kind} first"
    return f"there is no {kind} {name!r}; {hint or configured}"


def _bad_fallbacks(fallbacks: Mapping[str, str | None]) -> Iterator[Problem]:
    reported = set[str]()
    for name, fallback in fallbacks.items():
        place = ("sinks", name, "fallback")
        if fallback is None:
            continue
        if fallback not in fallbacks:
            yield Problem(place, _no_such("sink", fallback, fallbacks))
            continue
        chain = [name]
        following: str | None = fallback
        while following is not None and following not in chain:
            chain.append(following)
            following = fallbacks.get(following)
        if following == name and name not in reported:
            reported.update(chain)
            yield Problem(
                place, f"falls back in a circle ({' → '.join([*chain, name])}); remove one of these fallbacks"
            )


def ticket_fallback_problems(sinks: Mapping[str, SinkSettings]) -> Iterator[Problem]:
    """Yield fallbacks whose tickets would never close: only a sink that opens tickets gets their closing."""
    for name, sink in sinks.items():
        other = sinks.get(sink.fallback or "")
        if other is not None and other.opens_tickets and not sink.opens_tickets:
            yield Problem(
                ("sinks", name, "fallback"),
                f"{sink.fallback} opens tickets, and nothing would close those that it opens for a sink that "
                "opens none; name a sink that sends messages",
            )


def _unreachable(routes: Mapping[int, RouteSettings], controllers: Collection[str]) -> Iterator[Problem]:
    for index, route in routes.items():
        for earlier, before in routes.items():
            if earlier >= index:
                break
            if not before.continue_ and _takes_all(before, route, controllers):
                yield Problem(
                    ("routes", index),
                    f"is never reached, because routes.{earlier} takes all that it matches; move this one "
                    f"above it, or give routes.{earlier} `continue: true`",
                )
                break


def _takes_all(earlier: RouteSettings, later: RouteSettings, controllers: Collection[str]) -> bool:
    """Return True if ``later`` gets nothing. A sink's event skips a route that names only that sink."""
    alone = len(set(earlier.sinks)) == 1 and set(earlier.sinks) != set(later.sinks)
    match = later.match
    # A sink's event has neither controller nor job, so a route that matches on one never gets it.
    about_jobs = match.controller or match.feature or match.serial or match.site_id
    if alone and not about_jobs and _taken(match.event, _ABOUT_SINKS):
        return False
    return _covers(earlier.match, match, controllers)


def _covers(earlier: MatchSettings, later: MatchSettings, controllers: Collection[str]) -> bool:
    """Return True if ``earlier`` matches everything that ``later`` matches; False also if not sure."""
    return (
        _taken(later.event, _EVENT_TYPES) <= _taken(earlier.event, _EVENT_TYPES)
        and _covers_globs(earlier.controller, later.controller, controllers)
        and _covers_globs(earlier.feature, later.feature)
        and _covers_globs(earlier.serial, later.serial)
        and (not earlier.site_id or (bool(later.site_id) and {*later.site_id} <= {*earlier.site_id}))
    )


def _taken(patterns: tuple[str, ...], values: Collection[str]) -> set[str]:
    return {value for value in values if not patterns or any(fnmatchcase(value, p) for p in patterns)}


def _covers_globs(
    earlier: tuple[str, ...], later: tuple[str, ...], values: Collection[str] | None = None
) -> bool:
    """Compare a field that an event may lack. ``values`` are all possible values, if known."""
    if not earlier:
        return True
    if values is not None and later:
        return _taken(later, values) <= _taken(earlier, values)
    return bool(later) and all(any(_takes(pattern, narrower) for pattern in earlier) for narrower in later)


def _takes(pattern: str, narrower: str) -> bool:
    if pattern in ("*", narrower):
        return True
    plain = not any(special in narrower for special in "*?[")
    return plain and fnmatchcase(narrower, pattern)
