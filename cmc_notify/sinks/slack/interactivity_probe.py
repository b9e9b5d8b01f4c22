"""A probe of the buttons that performs no action.

It requests a Socket Mode URL without using it, and the members of each user group that may act.
"""

from cmc_notify.core.outcome import Blocked
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.error_codes import SlackCallFailed
from cmc_notify.sinks.slack.settings import SlackSettings

MEMBERS = "usergroups.users.list"


def app_client(settings: SlackSettings) -> SlackClient:
    """Return a client that uses the app-level token instead of the bot's."""
    return SlackClient(settings.model_copy(update={"token": settings.app_token}))


async def probe_interactivity(client: SlackClient, scopes: set[str] | None) -> list[str]:
    """Return a note for each thing that works or lacks. Raises SlackCallFailed if buttons would not work."""
    settings = client.settings
    if not settings.interactive:
        return []
    notes = []
    if settings.app_token is not None:
        await _open_socket(settings)
        notes.append("Socket Mode works")
    allow = settings.allow
    everybody = {*allow.cancel, *allow.acknowledge, *allow.silence}
    for group in sorted(each for each in everybody if each.startswith("S")):
        try:
            await client.call(MEMBERS, usergroup=group)
        except SlackCallFailed as error:
            said = f"allow: user group {group} can't be asked: {error}"
            raise SlackCallFailed(Blocked(said), error.code) from error
    if scopes is not None and "commands" not in scopes:
        notes.append("without commands there is no /cmc")
    return notes


async def socket_address(client: SlackClient) -> object:
    """Return the URL of a socket connection, which works once. Raises SlackCallFailed."""
    assert client.settings.app_token is not None
    token = client.settings.app_token.get_secret_value().strip()
    return (await client.call("apps.connections.open", app_token=token)).data.get("url")


async def _open_socket(settings: SlackSettings) -> None:
    client = app_client(settings)
    try:
        await socket_address(client)
    except SlackCallFailed as error:
        said = f"app_token: {error}; it needs the scope connections:write, and Socket Mode switched on"
        raise SlackCallFailed(Blocked(said), error.code) from error
    finally:
        await client.close()
