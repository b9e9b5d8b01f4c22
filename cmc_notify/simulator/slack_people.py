"""People in a Slack-like workspace: they press buttons, type commands, and get replies that only they see.

Their actions reach the app by Socket Mode, or as a signed request to an address of the bridge.
"""

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from typing_extensions import override

from cmc_notify.simulator.slack import SlackServer
from cmc_notify.simulator.slack_rules import refusal
from cmc_notify.simulator.slack_socket import ACK_TIMEOUT, Ack, SlackSockets
from cmc_notify.simulator.slack_workspace import SlackMessage

__all__ = ["Ack", "Ephemeral", "InteractiveSlack", "Person", "buttons", "signature"]


@dataclass(frozen=True, slots=True)
class Person:
    """A member of the workspace."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """A message that only ``user`` sees."""

    channel: str
    user: str
    text: str
    raw: Mapping[str, Any]


def signature(secret: str, body: str, at: float | None = None) -> dict[str, str]:
    """Return the headers with which Slack signs ``body``; source: "Verifying requests from Slack"."""
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256).hexdigest()
    return {
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest}",
        "Content-Type": "application/x-www-form-urlencoded",
    }


class InteractiveSlack(SlackServer):
    """A workspace whose app has buttons, a slash command, and user groups."""

    def __init__(self, **workspace: Any) -> None:
        """Take the arguments of SlackWorkspace."""
        super().__init__(**workspace)
        self.app_token = "xapp-1-A0SIMULATED-1-simulated"  # noqa: S105  it opens nothing but this server
        self.signing_secret = "simulated-signing-secret"  # noqa: S105  it signs for nothing but tests
        self.scopes |= {"usergroups:read"}
        self.groups: dict[str, set[str]] = {}
        """Members by user group."""
        self.ephemerals: list[Ephemeral] = []
        self.acks: list[Ack] = []
        self.sockets = SlackSockets()
        self._numbers = itertools.count(1)

    @override
    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/link/", self.sockets.serve)

    @override
    def answer(
        self, method: str, arguments: dict[str, Any], header: str
    ) -> tuple[dict[str, Any], int, dict[str, str]]:
        if method == "apps.connections.open":
            return self._open_connection(arguments, header), 200, {}
        if method not in ("chat.postEphemeral", "usergroups.users.list") or self.revoked:
            return super().answer(method, arguments, header)
        if header != f"Bearer {self.token}":
            return {"ok": False, "error": "invalid_auth" if header else "not_authed"}, 200, {}
        needed = {"chat.postEphemeral": "chat:write", "usergroups.users.list": "usergroups:read"}[method]
        if needed not in self.scopes:
            return {"ok": False, "error": "missing_scope", "needed": needed}, 200, {}
        do = self._post_ephemeral if method == "chat.postEphemeral" else self._list_members
        return do(arguments), 200, {}

    def shown_to(self, person: Person) -> list[str]:
        """Return the texts that only this person has seen."""
        return [ephemeral.text for ephemeral in self.ephemerals if ephemeral.user == person.id]

    async def wait_shown_to(self, person: Person, count: int = 1, *, seconds: float = 20) -> list[str]:
        """Return the texts that only this person has seen, once there are ``count``; raises TimeoutError."""
        await self.wait(lambda slack: len(slack.shown_to(person)) >= count, seconds=seconds)
        return self.shown_to(person)

    async def press(
        self,
        message: SlackMessage,
        action_id: str,
        person: Person,
        option: str | None = None,
        *,
        url: str | None = None,
        **signing: Any,
    ) -> Ack:
        """Press the button, or choose the option; by Socket Mode, or signed to ``url``.

        Raises LookupError if the message has no such button. ``signing``: see ``post``.
        """
        payload = self.pressed(message, action_id, person, option)
        if url is None:
            return self._noted(await self.sockets.deliver("interactive", payload))
        return await self.post(url, urlencode({"payload": json.dumps(payload)}), **signing)

    async def command(
        self, text: str, person: Person, *, channel: str | None = None, url: str | None = None, **signing: Any
    ) -> Ack:
        """Type ``/cmc text`` in a channel (by id; default: the first); the Ack's payload has the reply."""
        name, first = next(iter(self.channels.items()))
        fields = {
            "command": "/cmc",
            "text": text,
            "user_id": person.id,
            "user_name": person.name,
            "team_id": "T0SIMULATED",
            "channel_id": channel or first,
            "channel_name": name if channel in (None, first) else "elsewhere",
            "response_url": f"{self.base}/commands/1",
            "trigger_id": f"{next(self._numbers)}.2.3",
        }
        if url is None:
            return self._noted(await self.sockets.deliver("slash_commands", fields, answers=True))
        return await self.post(url, urlencode(fields), **signing)

    async def post(
        self,
        url: str,
        body: str,
        *,
        secret: str | None = None,
        at: float | None = None,
        sent: str | None = None,
    ) -> Ack:
        """Send a request as Slack does, signed with ``secret`` (default: the app's) at ``at`` (default: now).

        ``sent`` replaces the signed body.
        """
        headers = signature(secret or self.signing_secret, body, at)
        return await self.post_raw(url, (sent or body).encode(), headers)

    async def post_raw(self, url: str, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]) -> Ack:
        """Send any request and return its Ack; without a response in time there is no status."""
        started = time.monotonic()
        try:
            async with (
                ClientSession(timeout=ClientTimeout(total=ACK_TIMEOUT)) as session,
                session.post(url, data=body, headers=headers) as response,
            ):
                ack_payload = await response.json() if response.content_type == "application/json" else None
                return self._noted(Ack(time.monotonic() - started, response.status, ack_payload))
        except (TimeoutError, ClientError):
            return self._noted(Ack(time.monotonic() - started, None))

    def pressed(
        self, message: SlackMessage, action_id: str, person: Person, option: str | None = None
    ) -> dict[str, Any]:
        """Return the payload of a press, as Slack documents it ("block_actions payload")."""
        block, element = _button(message, action_id)
        number = next(self._numbers)
        action: dict[str, Any] = {
            "type": element["type"],
            "action_id": action_id,
            "block_id": block["block_id"],
            "action_ts": f"{int(time.time())}.{number:06d}",
        }
        if option is not None:
            action["selected_option"] = next(o for o in element["options"] if o["value"] == option)
        return {
            "type": "block_actions",
            "user": {"id": person.id, "username": person.name, "name": person.name, "team_id": "T0SIMULATED"},
            "api_app_id": "A0SIMULATED",
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": message.channel,
                "is_ephemeral": False,
            },
            "trigger_id": f"{number}.2.3",
            "team": {"id": "T0SIMULATED", "domain": "simulated"},
            "channel": {"id": message.channel, "name": "netops"},
            "message": {"type": "message", "ts": message.ts, "blocks": message.raw.get("blocks") or []},
            "response_url": f"{self.base}/actions/1",
            "actions": [action],
        }

    def _noted(self, ack: Ack) -> Ack:
        self.acks.append(ack)
        return ack

    def _open_connection(self, arguments: dict[str, Any], header: str) -> dict[str, Any]:
        # As a parameter the token is refused: Slack's page on apps.connections.open.
        if "token" in arguments or not header.startswith("Bearer xapp-"):
            return {"ok": False, "error": "not_allowed_token_type" if header else "not_authed"}
        if header != f"Bearer {self.app_token}":
            return {"ok": False, "error": "invalid_auth"}
        return self.sockets.open(self.base)

    def _post_ephemeral(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel, user = str(arguments.get("channel")), str(arguments.get("user") or "")
        if channel not in self.members:
            return {"ok": False, "error": "channel_not_found"}
        if not user:
            return {"ok": False, "error": "user_not_in_channel"}
        if problem := refusal(arguments):
            return {"ok": False, "error": problem}
        self.ephemerals.append(Ephemeral(channel, user, str(arguments.get("text")), arguments))
        return {"ok": True, "message_ts": f"{time.time():.6f}"}

    def _list_members(self, arguments: dict[str, Any]) -> dict[str, Any]:
        members = self.groups.get(str(arguments.get("usergroup")))
        if members is None:
            return {"ok": False, "error": "no_such_subteam"}
        return {"ok": True, "users": sorted(members)}


def buttons(message: SlackMessage) -> list[str]:
    """Return the ``action_id`` of each button and menu that the message shows now."""
    return [str(element.get("action_id")) for _block, element in _elements(message)]


def _button(message: SlackMessage, action_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    for block, element in _elements(message):
        if element.get("action_id") == action_id:
            return block, element
    raise LookupError(f"the message has no {action_id}; it has {buttons(message)}")


def _elements(message: SlackMessage) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for block in message.raw.get("blocks") or []:
        if block.get("type") == "actions":
            for element in block.get("elements", []):
                yield block, element
