"""Who may do what: people by their id, and members of user groups, whom Slack is asked for.

Guarantee: where a group can't be asked, nobody is taken to be in it. A member who leaves a group loses the
right within ``KEPT``.
"""

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from cmc_notify.chatops.payloads import ActionName
from cmc_notify.chatops.permissions import groups, named, refusal
from cmc_notify.chatops.replies import quoted
from cmc_notify.core.outcome import Blocked
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.error_codes import NotTaken
from cmc_notify.sinks.slack.interactivity_probe import MEMBERS

KEPT = 180.0
"""Seconds that a group's members are remembered."""


class Refusal(Struct, frozen=True):
    """Why somebody may not."""

    person: str
    """For them, in Slack's markup."""
    answer: str
    """For the audit, plain."""


class People:
    """The people of one workspace, asked with one bot token (scope ``usergroups:read``)."""

    def __init__(self, client: SlackClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._members: dict[str, tuple[float, frozenset[str]]] = {}

    async def refuses(self, action: ActionName, allowed: Sequence[str], person: str) -> Refusal | None:
        """None where the person may; else why not."""
        if named(allowed, person):
            return None
        unknown: dict[str, None] = {}
        for group in groups(allowed):
            try:
                if person in await self._of(group):
                    return None
            except NotTaken as error:
                unknown[str(error)] = None
        return Refusal(
            person=refusal(action, allowed, unknown=map(quoted, unknown)),
            answer="; ".join(["not allowed", *unknown]),
        )

    async def _of(self, group: str) -> frozenset[str]:
        """The group's members. Raises NotTaken. Source: Slack's page on ``usergroups.users.list``."""
        known = self._members.get(group)
        if known and self._clock() < known[0]:
            return known[1]
        answer = await self._client.call(MEMBERS, usergroup=group)
        users = answer.data.get("users")
        if not isinstance(users, list):
            raise NotTaken(Blocked("usergroups.users.list: the answer names no users"))
        found = frozenset(str(user) for user in users)
        self._members[group] = (self._clock() + KEPT, found)
        return found
