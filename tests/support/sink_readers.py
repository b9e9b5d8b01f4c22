"""Every kind of place where people are told, with a real server, and what a reader sees there.

Each undoes its medium's own escaping as the medium does it, and nothing else. A message that breaks a limit
or a format is refused by the server, so that the send is not ``Sent``.
"""

import html
import io
import re
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC
from email.message import Message as EmailPart
from typing import Any, ClassVar, cast

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cmc_notify.core.events import Event
from cmc_notify.core.outcome import Rejected, SendOutcome, Sent
from cmc_notify.core.text import visible
from cmc_notify.ports import (
    Acknowledgement,
    DeliveryFilter,
    Ledger,
    LedgerRow,
    Message,
    PartRecorder,
    Sink,
    TicketFilter,
    TicketRow,
)
from cmc_notify.ports import Renderer as RendererPort
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import settings_class
from cmc_notify.simulator.chat import DiscordServer, TeamsServer
from cmc_notify.simulator.mailbox import Mailbox
from cmc_notify.simulator.receiver import Receiver
from cmc_notify.simulator.slack import SlackMessage, SlackServer
from cmc_notify.sinks import apprise, email, slack, webhook
from cmc_notify.sinks.console import ConsoleSink
from cmc_notify.sinks.plugin import SinkPlugin
from cmc_notify.sinks.slack.limits import violations
from cmc_notify.web.event_page import EventPage
from support.ticket_services import PLACES

_LONGEST_LINE = 998
_LARGEST_MAIL = 10_000_000
_LONGEST_BODY = 110_000
"""Past some 100 KB mail readers cut; a line break has two bytes on the way."""


class Medium(ABC):
    """One kind of sink, and its other side. ``complete`` says that every text must be there whole."""

    plugin: ClassVar[SinkPlugin]
    complete: ClassVar[bool] = True
    spaced: ClassVar[bool] = False
    """Whether blank lines, and white space at the ends of lines, are lost in its blocks."""

    def __init__(self) -> None:
        self.renderer: RendererPort = Renderer()
        self.sink: Sink

    @abstractmethod
    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """Start the other side; returns what the config says of it."""

    @abstractmethod
    def seen(self) -> str:
        """All that a reader can read of what arrived since the last call, which then is forgotten."""

    async def open(self, stack: AsyncExitStack) -> None:
        """Start the other side and build the sink as the application does."""
        settings = self.plugin.settings.model_validate({**await self.start(stack), "timeout": 60})
        self.sink = self.plugin.build("place", settings, self.renderer)
        stack.push_async_callback(self.sink.close)


class Console(Medium):
    """The terminal indents each text by four columns."""

    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """Nothing to start."""
        del stack
        return {}

    async def open(self, stack: AsyncExitStack) -> None:
        """A stream in memory."""
        del stack
        self.stream = io.StringIO()
        self.sink = ConsoleSink("place", self.renderer, self.stream)

    def seen(self) -> str:
        """The stream, with and without the indent."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return re.sub(r"^ {4}", "", text, flags=re.MULTILINE)


class Webhook(Medium):
    """JSON holds every character as it came; people see it as they see any text."""

    plugin = webhook.PLUGIN

    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """A receiver."""
        self.receiver = await stack.enter_async_context(Receiver())
        return {"url": self.receiver.url}

    def seen(self) -> str:
        """All texts of the document."""
        documents = [request.document for request in self.receiver.requests]
        self.receiver.requests.clear()
        texts = [
            text
            for event in documents
            for text in (
                event["reason"],
                event["job"] and event["job"]["error_text"],
                *(failure["error_text"] for failure in event["failures"]),
            )
        ]
        return "\n".join(visible(text) for text in texts if text)


class Mail(Medium):
    """Text and attachments."""

    plugin = email.PLUGIN

    async def start(self, stack: AsyncExitStack) -> dict[str, Any]:
        """A mail server."""
        self.box = await stack.enter_async_context(Mailbox())
        mail = {"from": "cmc@example.net", "to": "noc@example.net"}
        return {"host": "127.0.0.1", "port": self.box.port, "tls": "none", **mail}

    def seen(self) -> str:
        """The text and what is attached; the HTML must hold as much as the text."""
        texts: list[str] = []
        for mail in self.box.mails:
            assert len(mail.content) <= _LARGEST_MAIL
            assert mail.content.isascii()
            assert max(map(len, mail.content.split(b"\r\n"))) <= _LONGEST_LINE
            bodies = [part.get_content() for part in mail.message.walk() if _is_body(part)]
            assert all(len(body.encode()) <= _LONGEST_BODY for body in bodies)
            plain = (part for part in mail.message.walk() if part.get_content_type() == "text/plain")
            texts += [part.get_content().replace("\r\n", "\n") for part in plain]
        self.box.mails.clear()
        return "\n".join(texts)


def _is_body(part: EmailPart) -> bool:
    return part.get_content_maintype() == "text" and not part.get_filename()


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


class Ticket(Preset):
    """A ticket's texts at the service that it was opened at."""

    preset: ClassVar[str]
    spaced = True

    async def place(self, stack: AsyncExitStack) -> Sink:
        """The vendor's service."""
        made = PLACES[self.preset]()
        self.desk = await stack.enter_async_context(made.desk)
        return made.sink(timeout=60)

    def seen(self) -> str:
        """All that stands at all tickets."""
        assert self.desk.refusals == []
        texts = [text for ticket in self.desk.tickets for _, text in ticket.history]
        self.desk.tickets.clear()
        return "\n".join(texts)


class _Pages:
    """A store that knows one event."""

    event_: Event

    async def event(self, _event_id: str) -> Event | None:
        """The one that was told last."""
        return self.event_

    async def deliveries(self, _wanted: DeliveryFilter) -> Sequence[LedgerRow]:
        """None."""
        return []

    async def tickets(self, _wanted: TicketFilter) -> Sequence[TicketRow]:
        """None."""
        return []

    async def acknowledgements(self, _subjects: Collection[str]) -> Mapping[str, Acknowledgement]:
        """None."""
        return {}


class _Reader:
    """Opens the page of what it is told, over HTTP."""

    name = "page"

    def __init__(self) -> None:
        self.ledger = _Pages()
        self.text = ""
        app = web.Application()
        app.router.add_get("/events/{event_id}", EventPage(cast(Ledger, self.ledger), lambda: UTC).show)
        self.client = TestClient(TestServer(app))

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Every page can be read."""
        del record
        self.ledger.event_ = message.event
        async with self.client.get(f"/events/{message.event.id}") as answer:
            self.text = html.unescape(await answer.text())
        return Sent() if answer.status == 200 else Rejected(str(answer.status))

    async def probe(self) -> SendOutcome:
        """Nothing to try."""
        return Sent()

    async def close(self) -> None:
        """The page needs no sink."""


class Page(Preset):
    """The page that messages link to, which is no sink but must hold whatever any of them leaves out."""

    complete = True

    async def place(self, stack: AsyncExitStack) -> Sink:
        """The bridge's own web application."""
        self.reader = _Reader()
        await stack.enter_async_context(self.reader.client)
        return self.reader

    def seen(self) -> str:
        """The page."""
        return self.reader.text


MEDIA: dict[str, type[Medium]] = {
    "page": Page,
    "console": Console,
    "webhook": Webhook,
    "email": Mail,
    "slack bot": SlackBot,
    "slack incoming": SlackIncoming,
    "apprise with files": AppriseJson,
    "apprise without files": AppriseGotify,
    "discord": Discord,
    "teams": Teams,
    **{name: type(name, (Ticket,), {"preset": name}) for name in PLACES},
}
