"""``routes``: which events go to which sinks. Read top to bottom; the first match wins unless ``continue``.

Patterns are shell globs (``*``, ``?``, ``[abc]``) over the whole value, in its exact case.
"""

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from cmc_notify.core.events import EventType
from cmc_notify.settings.base import Part
from cmc_notify.settings.suggestions import did_you_mean


def _listed(value: Any) -> Any:
    """Return a list for one value, and text for a number (a serial may have only digits)."""
    if isinstance(value, list) and not value:
        raise ValueError("an empty list matches nothing; write a value or remove the key")
    items = value if isinstance(value, list | tuple) else (value,)
    return tuple(
        str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items
    )


def _sane_glob(pattern: str) -> str:
    if not pattern or pattern != pattern.strip():
        raise ValueError("a pattern must not be empty, nor begin or end with a space; write it without")
    opened = pattern.find("[")
    if opened >= 0 and pattern.find("]", opened + 2) < 0:
        raise ValueError(f"{pattern!r} opens [ and never closes it; write [[] for the character [")
    return pattern


def _known_event(pattern: str) -> str:
    if not any(fnmatchcase(event_type, pattern) for event_type in EventType):
        hint = did_you_mean(pattern, EventType) or f"write one of {', '.join(EventType)}"
        raise ValueError(f"{pattern!r} matches no event type; {hint}")
    return pattern


def _renamed_per(value: Any) -> Any:
    if value == "incident":
        raise ValueError("`incident` was renamed; write `per: failure`")
    return value


def _one_or_many(item: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


Glob = Annotated[str, AfterValidator(_sane_glob)]
Globs = Annotated[tuple[Glob, ...], BeforeValidator(_listed), _one_or_many({"type": "string"})]
Events = Annotated[
    tuple[Annotated[Glob, AfterValidator(_known_event)], ...],
    BeforeValidator(_listed),
    _one_or_many({"type": "string"}),
]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_listed), _one_or_many({"type": "integer"})]
SinkNames = Annotated[
    tuple[str, ...], BeforeValidator(_listed), Field(min_length=1), _one_or_many({"type": "string"})
]


class MatchSettings(Part):
    """The conditions of a route. Every key given must match; within a key any one value is enough.

    An empty tuple is a key that was not given. An event that lacks the field doesn't match.
    """

    event: Events = ()
    controller: Globs = ()
    feature: Globs = ()
    serial: Globs = ()
    site_id: Numbers = ()


class RouteSettings(Part):
    """One route: the events that it matches (without ``match``: all) and the sinks that get them."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    match: MatchSettings = MatchSettings()
    sinks: SinkNames
    per: Annotated[Literal["job", "failure"], BeforeValidator(_renamed_per)] = "job"
    """The subject of one ticket, for sinks that open tickets: a job with all its failures, or one failure
    (controller, serial, feature).
    """
    max_per_job: Annotated[int, Field(ge=1)] = 50
    """With ``per: failure``: a job with more failures than this gets one ticket for the job."""
    continue_: bool = Field(default=False, alias="continue")
    """True lets a matching event go on to the routes below."""
