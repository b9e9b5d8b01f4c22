"""A template's context: the event's fields, its groups, and the facts about this one message."""

from typing import Any

from cmc_notify.core.events import rfc3339
from cmc_notify.core.grouping import Group, group_failures, group_recoveries
from cmc_notify.ports import Message, SizeLimits
from cmc_notify.rendering.filters import listing, shorten
from cmc_notify.rendering.formats import Format

BRIEF_GROUPS = 50
BRIEF_TEXT = 200
"""Characters of each failure's text."""
BRIEF_ERROR = 1000
"""Characters of a pre-push error or a reason."""
BRIEF_NAMES = 5
BRIEF = SizeLimits(BRIEF_GROUPS, BRIEF_NAMES, BRIEF_TEXT, BRIEF_ERROR)
_BRIEF_SIZE = {"mrkdwn": 7000}
"""Bytes that all groups of a brief document may take, if the medium has a limit: a Slack message holds about
12,000, and the facts need some of it.
"""
_AROUND = 60
"""Bytes, about, that a template writes around a group's own text."""


def context_of(
    message: Message, form: Format, *, brief: bool = False, size_limits: SizeLimits | None = None
) -> dict[str, Any]:
    """Return the variables of a template; docs/reference/templates.md describes each for users."""
    event = message.event
    every = group_failures(event.failures)
    recovered = group_recoveries(event.recoveries)
    groups, recoveries = every, recovered
    if size_limits:
        groups, recoveries = every[: size_limits.groups], recovered[: size_limits.groups]
    elif brief:
        groups = brief_groups(every, form)
    bounds = size_limits or (BRIEF if brief else None)
    new = sum(group.new for group in every)
    return {
        **{field: getattr(event, field) for field in event.__struct_fields__},
        "event": event,
        "groups": groups,
        "groups_hidden": len(every) - len(groups),
        "failures_hidden": len(event.failures) - sum(len(group.members) for group in groups),
        "recovery_groups": recoveries,
        "recoveries_hidden": len(event.recoveries) - sum(len(group.members) for group in recoveries),
        "mark_new": 0 < new < len(event.failures),
        "brief": brief,
        "shortened": size_limits is not None,
        "text_limit": bounds.text if bounds else None,
        "error_limit": bounds.error if bounds else None,
        "names_limit": bounds.names if bounds else None,
        "is_test": message.is_test,
        "possible_repeat": message.unclear,
        "subject": message.subject,
        "purpose": str(message.purpose),
        "tickets": message.tickets,
        "acknowledged": _acknowledged(message),
        "silenced": _silenced(message),
    }


def _acknowledged(message: Message) -> dict[str, str | None] | None:
    """Return the name and the time (RFC 3339)."""
    found = message.acknowledged
    return {"by": found.by, "at": rfc3339(found.at)} if found else None


def _silenced(message: Message) -> dict[str, object] | None:
    """Return the name and the end (RFC 3339)."""
    found = message.silenced
    return {"by": found.by, "until": rfc3339(found.until), "with_job": found.with_job} if found else None


def brief_groups(groups: tuple[Group, ...], form: Format) -> tuple[Group, ...]:
    """Return the groups of a brief document: the first, as many as count and size allow, at least one."""
    size = _BRIEF_SIZE.get(form.name)
    chosen: list[Group] = []
    taken = 0
    for group in groups[:BRIEF_GROUPS]:
        if size is not None:
            pieces = (group.feature or "", shorten(group.error_text or "", BRIEF_TEXT))
            taken += _AROUND + len(form.escape(listing(group.members, BRIEF_NAMES).join(pieces)).encode())
            if chosen and taken > size:
                break
        chosen.append(group)
    return tuple(chosen)
