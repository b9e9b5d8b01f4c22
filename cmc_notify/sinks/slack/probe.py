"""A probe that tests whether a message could be posted, without posting one.

It signs in, compares the token's scopes with the needed ones, reads the channel if a scope allows it, and
tests the buttons (``interactivity_probe``). The receipt names what could not be tested.
"""

import re

from cmc_notify.core.outcome import Blocked, SendOutcome, Sent
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.interactivity_probe import probe_interactivity
from cmc_notify.sinks.slack.lookup import NotFound, find_channel

_ID = re.compile(r"[CGD][A-Z0-9]{8,}")
_USES = (
    ("files:write", "long lists go as thread replies instead of files"),
    ("channels:history", "a message whose response was lost can't be looked for and may be repeated"),
    ("channels:read", "a channel given by name can't be checked"),
)
"""Optional scopes, and the effect of lacking each. ``groups:…`` is enough for a private channel."""


def is_channel_id(channel: str) -> bool:
    """Return True for a channel's id: names have no capitals."""
    return bool(_ID.fullmatch(channel))


async def probe(client: SlackClient, channel: str) -> SendOutcome:
    """Return Blocked if every message would fail. Raises SlackCallFailed."""
    response = await client.call("auth.test")
    named = response.headers.get("x-oauth-scopes")
    scopes = {scope.strip() for scope in named.split(",")} if named is not None else None
    if scopes is not None and "chat:write" not in scopes:
        return Blocked("the token lacks the scope chat:write; add it to the Slack app and install it again")
    notes = [f"signed in as {response.data.get('user')} of {response.data.get('team')}"]
    if scopes is None:
        notes.append("Slack did not name the token's scopes")
    else:
        notes += [f"without {scope} {effect}" for scope, effect in _USES if not _has(scopes, scope)]
    found = await find_channel(client, channel)
    if found is NotFound.ABSENT:
        return Blocked(f"channel {channel}: not found; correct it, or invite the bot if it is private")
    if isinstance(found, dict):
        if found.get("is_archived"):
            return Blocked(f"channel {channel}: is archived; unarchive it or choose another")
        if found.get("is_member") is False and "chat:write.public" not in (scopes or ()):
            return Blocked(f"channel {channel}: the bot is not a member; invite it")
        notes.append(f"channel {channel} is {found.get('id')}")
    else:
        notes.append(f"channel {channel} was not tested")
    notes += await probe_interactivity(client, scopes)
    return Sent("; ".join(notes))


def _has(scopes: set[str], scope: str) -> bool:
    return scope in scopes or scope.replace("channels:", "groups:") in scopes
