"""Readers of Slack, Discord, Teams and what Apprise serves."""

import html
from abc import abstractmethod
from base64 import b64decode
from contextlib import AsyncExitStack
from typing import Any

from cmc_notify.ports import (
    Sink,
)
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import settings_class
from cmc_notify.simulator.chat import DiscordServer, TeamsServer
from cmc_notify.simulator.receiver import Receiver
from cmc_notify.simulator.slack import SlackMessage, SlackServer
from cmc_notify.sinks import apprise, slack, webhook
from cmc_notify.sinks.slack.limits import violations
from support.sink_readers.base import Medium


class SlackBot(Medium):
    """Channel, thread and files."""

    plugin = slack.PLUGIN

    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """A workspace."""
        self.server = await stack.enter_async_context(SlackServer())
        return {"token": self.server.token, "channel": "#netops", "api_url": self.server.api_url}

    def seen(self) -> str:
        """What stands in the channel and in threads, in blocks and in files."""
        posted = [message for message in self.server.messages if not message.files]
        assert not [problem for message in posted for problem in violations(message.raw)]
        files = [(file.content or b"").decode() for file in self.server.files if file.channel]
        # A file that was cut goes on in the next one.
        shown = "".join(files) + "\n" + _slack_text(posted)
        self.server.messages.clear()
        self.server.files.clear()
        return shown.replace("\u200b", "")


class SlackIncoming(SlackBot):
    """At most ten messages."""

    complete = False

    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """The same workspace, by its webhook."""
        await super().start(stack)
        return {"webhook_url": self.server.webhook_url}


def _slack_text(messages: list[SlackMessage]) -> str:
    """Sections as they are read one after the other, over the headers of continued messages: a fence that
    one closes and the next opens is one.
    """
    blocks = [block for message in messages for block in message.raw.get("blocks") or []]
    heads = [block["text"]["text"] for block in blocks if block["type"] == "header"]
    texts = [block["text"]["text"] for block in blocks if block["type"] == "section" and "text" in block]
    others = [text for message in messages for text in message.texts if text not in heads + texts]
    joined = "\n".join(texts).replace("\n```\n```\n", "\n")
    return html.unescape("\n".join([joined, *heads, *others]))


class AppriseJson(Medium):
    """A service that takes files."""

    plugin = apprise.PLUGIN

    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """What json:// speaks to."""
        self.receiver = await stack.enter_async_context(Receiver())
        return {"urls": [f"json://{self.receiver.url.removeprefix('http://')}"]}

    def seen(self) -> str:
        """The message and its files; zero-width spaces part mentions only."""
        documents = [request.document for request in self.receiver.requests]
        self.receiver.requests.clear()
        assert all(len(each["message"].encode()) <= 32768 for each in documents)
        files = [b64decode(file["base64"]).decode() for each in documents for file in each["attachments"]]
        return "\n".join([*(each["message"].replace("\u200b", "") for each in documents), *files])


class AppriseGotify(Medium):
    """A service that takes none: a server that behaves as Gotify's API says."""

    plugin = apprise.PLUGIN
    complete = False

    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """Anything that answers 200 to ``POST /message`` will do."""
        self.receiver = await stack.enter_async_context(Receiver())
        return {"urls": [f"gotify://{self.receiver.url.removeprefix('http://')}/AbCdEfGhIjKlMnOp"]}

    def seen(self) -> str:
        """The message alone."""
        documents = [request.document for request in self.receiver.requests]
        self.receiver.requests.clear()
        assert all(len(each["message"].encode()) <= 32768 and len(each["title"]) <= 250 for each in documents)
        return "\n".join(each["message"].replace("\u200b", "") for each in documents)


class Preset(Medium):
    """A webhook with a preset."""

    complete = False

    @abstractmethod
    async def place(self, stack: AsyncExitStack) -> Sink:
        """The sink, once its server is there."""

    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """``place`` says it all."""
        del stack
        return {}

    async def open(self, stack: AsyncExitStack) -> None:
        """Settings of a preset are of a class of their own."""
        self.sink = await self.place(stack)
        stack.push_async_callback(self.sink.close)


def _chat(preset: str, url: str) -> Sink:
    given = {"type": "webhook", "preset": preset, "url": url, "timeout": 60}
    return webhook.PLUGIN.build(
        "place", settings_class(webhook.PLUGIN.settings, given).model_validate(given), Renderer()
    )


class Discord(Preset):
    """A message and its file."""

    complete = True

    async def place(self, stack: AsyncExitStack) -> Sink:
        """A channel's webhook."""
        self.server = await stack.enter_async_context(DiscordServer())
        return _chat("discord", self.server.webhook_url)

    def seen(self) -> str:
        """The message as Discord shows it, and the file; nothing in it is markup or pings."""
        messages = self.server.messages[:]
        self.server.messages.clear()
        assert not any(message.pings or message.markup for message in messages)
        return "\n".join(message.shown for message in messages)


class Teams(Preset):
    """A card."""

    spaced = True

    async def place(self, stack: AsyncExitStack) -> Sink:
        """A workflow's address."""
        self.server = await stack.enter_async_context(TeamsServer())
        return _chat("teams", self.server.webhook_url)

    def seen(self) -> str:
        """The card's lines; its blank lines are space, which no text has."""
        cards = self.server.cards[:]
        self.server.cards.clear()
        assert not any(card.markup for card in cards)
        return "\n".join(card.shown for card in cards)
