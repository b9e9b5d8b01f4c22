"""The Slack apps behind the configured sinks: sinks with the same tokens and secret are one app.

Slack sends a press to any connection of the app, whichever sink it was opened for. So one connection serves
all sinks of an app, and the message's reference in the store says which of them the press is about.
"""

import time
from collections.abc import Mapping

from pydantic import SecretStr

from cmc_notify.chatops.payloads import Command
from cmc_notify.chatops.people import People
from cmc_notify.chatops.replies import escaped_line
from cmc_notify.chatops.signature_check import SignatureCheck
from cmc_notify.ports import Clock
from cmc_notify.settings.base import SinkSettings
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.error_codes import SlackCallFailed
from cmc_notify.sinks.slack.lookup import channel_id
from cmc_notify.sinks.slack.probe import is_channel_id
from cmc_notify.sinks.slack.settings import SlackSettings

NOT_FOUND_CACHE_TIME = 60.0
"""Seconds until a channel that was not found is looked for again. Anybody can type a command, and Slack
allows few such requests a minute. A message whose response was lost needs them as well.
"""


class App:
    """One app's tokens, and the sinks that send its messages. ``name`` is the first sink's."""

    def __init__(self, sinks: Mapping[str, SlackSettings], *, clock: Clock) -> None:
        self.sinks = sinks
        self.name = next(iter(sinks))
        self.settings = sinks[self.name]
        self.client = SlackClient(self.settings)
        self.people = People(self.client)
        secret = self.settings.signing_secret
        self.signature_check = SignatureCheck(secret.get_secret_value(), clock=clock) if secret else None
        self._channels: dict[str, str] = {}
        self._not_found_until: dict[str, float] = {}

    @property
    def uses_socket_mode(self) -> bool:
        """Return True if it has a token for Socket Mode."""
        return self.settings.app_token is not None

    def settings_of(self, sink: str) -> SlackSettings:
        """Return one sink's settings."""
        return self.sinks[sink]

    async def channel_refusal(self, command: Command) -> str | None:
        """Return None for a command from a channel of this app's sinks; else a text that says what to do.

        Everybody in the workspace can type a command, but error texts are only for members of the channel.
        """
        reasons = []
        for settings in self.sinks.values():
            channel = settings.channel or ""
            if channel in (command.channel, f"#{command.channel_name}"):
                return None
            if not is_channel_id(channel):
                try:
                    if await self._id_of(channel) == command.channel:
                        return None
                except SlackCallFailed as error:
                    reasons.append(escaped_line(error))
        places = ", ".join(dict.fromkeys(escaped_line(each.channel) for each in self.sinks.values()))
        return "\n".join([f"Please use this command in {places}, where the messages are", *reasons])

    async def close(self) -> None:
        """Release connections."""
        await self.client.close()

    async def _id_of(self, name: str) -> str | None:
        if name in self._channels or time.monotonic() < self._not_found_until.get(name, 0.0):
            return self._channels.get(name)
        # Before the request, so that one that times out is not repeated at once either.
        self._not_found_until[name] = time.monotonic() + NOT_FOUND_CACHE_TIME
        if (found := await channel_id(self.client, name)) is not None:
            self._channels[name] = found
        return found


def apps(sinks: Mapping[str, SinkSettings], *, clock: Clock) -> tuple[App, ...]:
    """Return the apps of the sinks that take presses or commands, in the order of the config."""
    found: dict[object, dict[str, SlackSettings]] = {}
    for name, settings in sinks.items():
        if isinstance(settings, SlackSettings) and settings.interactive:
            found.setdefault(_identity(settings), {})[name] = settings
    return tuple(App(group, clock=clock) for group in found.values())


def _identity(settings: SlackSettings) -> object:
    """Return a key that is equal for sinks of one app: the same credentials at the same API address."""
    secrets = (settings.token, settings.app_token, settings.signing_secret)
    return (settings.api_url, *(_value(secret) for secret in secrets))


def _value(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value().strip() if secret else None
