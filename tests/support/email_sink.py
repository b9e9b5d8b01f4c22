"""An email sink for tests, and a reader of its mails."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

from cmc_notify.ports import Renderer
from cmc_notify.sinks.email import PLUGIN, EmailSettings, EmailSink

HOSTILE = (
    "quotes \" ' \\ and\nlines\r\nand \t tabs\n.\n..two dots\nFrom here",
    "controls \x01\x07\x1b[31m\x7f\x85 and \u202e override \u2028 line",
    "<!channel> <@U1> {{ 7*7 }} </script><b>&amp; =3D =",
    "NUL \u2400 and \ufffd and \U0001f4a5 and " + "x" * 20_000,
    "Subject: forged\r\nBcc: evil@example.org\r\n\r\nbody",
)


def sink_for(port: int, renderer: Renderer, **more: Any) -> EmailSink:
    """An email sink built as the application builds it; two readers."""
    given = {
        "type": "email",
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "from": "CMC bridge <cmc@example.net>",
        "to": ["noc@example.net", "Ops <ops@example.net>"],
        **more,
    }
    sink = PLUGIN.build("mail", EmailSettings.model_validate(given), renderer)
    assert isinstance(sink, EmailSink)
    return sink


def parsed(envelope: Any) -> EmailMessage:
    """The mail that a server took."""
    return message_from_bytes(envelope.content, policy=policy.default)


class _Words(HTMLParser):
    """The text that a reader of HTML sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def content(mail: EmailMessage, kind: str) -> str:
    """One alternative as a reader gets it."""
    part = mail.get_body((kind,))
    assert part is not None
    text: str = part.get_content().replace("\r\n", "\n")
    return text if kind == "plain" else _Words(text).text
