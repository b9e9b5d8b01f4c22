"""The Slack apps behind the configured sinks: sinks with the same tokens and secret are one app.

Slack hands a press to any connection of the app, whichever sink it was opened for; so one connection serves
all of an app's sinks, and the message's place in the store says which of them it is about.
"""

import time
from collections.abc import Mapping

from pydantic import SecretStr

from cmc_notify.chatops.payloads import Command
from cmc_notify.chatops.people import People
from cmc_notify.chatops.replies import quoted
from cmc_notify.chatops.signature_check import SignatureCheck
from cmc_notify.ports import Clock
from cmc_notify.settings.base import SinkSettings
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.error_codes import NotTaken
from cmc_notify.sinks.slack.lookup import channel_id
from cmc_notify.sinks.slack.probe import seems_id
from cmc_notify.sinks.slack.settings import SlackSettings

MISSED_FOR = 60.0
"""Seconds that a channel which was not found is not looked for again: anybody can ask, and Slack answers few
such questions a minute, which a message whose answer was lost needs as well.
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
        self.door = SignatureCheck(secret.get_secret_value(), clock=clock) if secret else None
        self._channels: dict[str, str] = {}
        self._missed: dict[str, float] = {}

    @property
    def by_socket(self) -> bool:
        """Whether it has a token for Socket Mode."""
        return self.settings.app_token is not None

    def settings_of(self, sink: str) -> SlackSettings:
        """One sink's settings."""
        return self.sinks[sink]

    async def elsewhere(self, command: Command) -> str | None:
        """None where the command was given in a channel that this app's messages go to; else what to do.

        Whoever is in the workspace can type a command; error texts are for those who may read the channel.
        """
        reasons = []
        for settings in self.sinks.values():
            channel = settings.channel or ""
            if channel in (command.channel, f"#{command.channel_name}"):
                return None
            if not seems_id(channel):
                try:
                    if await self._id_of(channel) == command.channel:
                        return None
                except NotTaken as error:
                    reasons.append(quoted(error))
        places = ", ".join(dict.fromkeys(quoted(each.channel) for each in self.sinks.values()))
        return "\n".join([f"Please ask in {places}, where its messages are", *reasons])

    async def close(self) -> None:
        """Release connections."""
        await self.client.close()

    async def _id_of(self, name: str) -> str | None:
        if name in self._channels or time.monotonic() < self._missed.get(name, 0.0):
            return self._channels.get(name)
        # Before the question, so that one that takes too long is not asked again at once either.
        self._missed[name] = time.monotonic() + MISSED_FOR
        if (found := await channel_id(self.client, name)) is not None:
            self._channels[name] = found
        return found


def apps(sinks: Mapping[str, SinkSettings], *, clock: Clock) -> tuple[App, ...]:
    """The apps among the sinks, each with a way in, in the order of the config."""
    found: dict[object, dict[str, SlackSettings]] = {}
    for name, settings in sinks.items():
        if isinstance(settings, SlackSettings) and settings.interactive:
            found.setdefault(_identity(settings), {})[name] = settings
    return tuple(App(group, clock=clock) for group in found.values())


def _identity(settings: SlackSettings) -> object:
    """What makes two sinks one app, as far as the config tells: the same credentials at the same place."""
    secrets = (settings.token, settings.app_token, settings.signing_secret)
    return (settings.api_url, *(_value(secret) for secret in secrets))


def _value(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value().strip() if secret else None
