"""Escaping by format: text from outside stays text in the document.

The format follows the extension of the template: ``html`` (also ``xml``), ``json``, ``mrkdwn`` and
``card`` (Slack), ``md`` (Discord), ``subject`` (also ``topic``); anything else is plain text. All but
``json`` are for people and show hidden characters.
"""

import re
from collections.abc import Callable

import markupsafe
import msgspec
from msgspec import Struct

from cmc_notify.core.text import markdown, visible

_SPACE = "\u200b"
_DIVIDER = re.compile("(?:^|(?<=[\n\u2028\u2029]))([ \t]*-)(?=--[ \t]*(?:$|[\n\u2028\u2029]))")
_BREAKS = re.compile("[\\s\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]+")


def one_line(text: str) -> str:
    """Return the text with each run of white space, line breaks and control characters as one space."""
    return _BREAKS.sub(" ", text).strip()


def html(text: str) -> str:
    """Escape for element content and quoted attributes."""
    return str(markupsafe.escape(visible(text)))


def json_string(text: str) -> str:
    """Escape for the inside of a JSON string; every character stays."""
    return msgspec.json.encode(str(text)).decode()[1:-1]


def mrkdwn(text: str) -> str:
    """Escape for Slack, inside a code fence or not.

    Slack wants only ``&``, ``<`` and ``>`` escaped; that also disables mentions and links. A zero-width space
    breaks up three backticks, which would end a fence, and a line of ``---``, which our own layout uses as a
    divider.
    """
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = escaped.replace("``", f"`{_SPACE}`")
    # The search alone takes longer than everything else.
    return _DIVIDER.sub(rf"\1{_SPACE}", escaped) if "---" in escaped else escaped


def subject(text: str) -> str:
    """Escape for a mail header: one line without control characters."""
    return visible(_BREAKS.sub(" ", text))


class Format(Struct, frozen=True):
    """A kind of document: the escaping of outside text, and the last step on the finished document."""

    name: str
    escape: Callable[[str], str]
    finish: Callable[[str], str] = str


def _valid_json(document: str) -> str:
    """Return the document. Raises msgspec.DecodeError (a ValueError) if it is not valid JSON."""
    msgspec.json.decode(document)
    return document


PLAIN = Format("plain", visible)
_MRKDWN = Format("mrkdwn", mrkdwn)
_FORMATS = {
    "html": Format("html", html),
    "xml": Format("html", html),
    "json": Format("json", json_string, _valid_json),
    "mrkdwn": _MRKDWN,
    "card": _MRKDWN,
    "md": Format("md", markdown),
    "subject": Format("subject", subject, one_line),
    "topic": Format("subject", subject, one_line),
}


def format_of(extension: str) -> Format:
    """Return the format of a template extension."""
    return _FORMATS.get(extension, PLAIN)
