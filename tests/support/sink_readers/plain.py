"""Readers of the terminal, of webhooks and of mails."""

import io
import re
from contextlib import AsyncExitStack
from email.message import Message as EmailPart
from typing import Any

from cmc_notify.core.text import visible
from cmc_notify.simulator.mailbox import Mailbox
from cmc_notify.simulator.receiver import Receiver
from cmc_notify.sinks import email, webhook
from cmc_notify.sinks.console import ConsoleSink
from support.sink_readers.base import _LARGEST_MAIL, _LONGEST_BODY, _LONGEST_LINE, Medium


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
