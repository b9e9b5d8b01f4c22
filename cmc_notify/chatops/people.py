"""The rights of people: by their id, or as members of a user group, which are requested from Slack.

Guarantee: if the members of a group can't be read, nobody counts as a member. A person who leaves a group
loses the right within ``MEMBERS_CACHE_TIME``.
"""

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from cmc_notify.chatops.payloads import ActionName
from cmc_notify.chatops.permissions import is_listed, refusal_text, user_groups
from cmc_notify.chatops.replies import escaped_line
from cmc_notify.core.outcome import Blocked
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.error_codes import SlackCallFailed
from cmc_notify.sinks.slack.interactivity_probe import MEMBERS

MEMBERS_CACHE_TIME = 180.0
"""Seconds that the members of a group are cached."""


class Refusal(Struct, frozen=True):
    """The reason why somebody may not do it."""

    reply: str
    """For the person, in Slack's markup."""
    plain_reply: str
    """For the audit."""


class People:
    """The people of one workspace; members are read with one bot token (scope ``usergroups:read``)."""

    def __init__(self, client: SlackClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._members: dict[str, tuple[float, frozenset[str]]] = {}

    async def refusal_for(self, action: ActionName, allowed: Sequence[str], person: str) -> Refusal | None:
        """Return None if the person may; else the refusal."""
        if is_listed(allowed, person):
            return None
        unknown: dict[str, None] = {}
        for group in user_groups(allowed):
            try:
                if person in await self._members_of(group):
                    return None
            except SlackCallFailed as error:
                unknown[str(error)] = None
        return Refusal(
            reply=refusal_text(action, allowed, unknown=map(escaped_line, unknown)),
            plain_reply="; ".join(["not allowed", *unknown]),
        )

    async def _members_of(self, group: str) -> frozenset[str]:
        """Return the members of the group. Raises SlackCallFailed.

        Source: Slack's page on ``usergroups.users.list``.
        """
        known = self._members.get(group)
        if known and self._clock() < known[0]:
            return known[1]
        response = await self._client.call(MEMBERS, usergroup=group)
        users = response.data.get("users")
        if not isinstance(users, list):
            raise SlackCallFailed(Blocked("usergroups.users.list: the response names no users"))
        found = frozenset(str(user) for user in users)
        self._members[group] = (self._clock() + MEMBERS_CACHE_TIME, found)
        return found
