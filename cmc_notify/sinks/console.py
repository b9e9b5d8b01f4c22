"""The console sink: messages on a terminal, coloured by severity.

Guarantee: no text from outside can move the cursor, set a colour or count as markup. A reader that has
stopped reading (a full pipe) delays only this sink.
"""

import asyncio
import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Literal, TextIO

from rich.console import Console
from rich.text import Text

from cmc_notify.core.outcome import Blocked, RetryLater, SendOutcome, Sent
from cmc_notify.core.text import visible
from cmc_notify.net import safe
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.settings.base import SinkSettings
from cmc_notify.sinks.daemon_thread import run_in_daemon_thread
from cmc_notify.sinks.plugin import SinkPlugin

_HEADLINE = {"info": "bold green", "warning": "bold yellow", "error": "bold red"}
_GONE = {errno.EPIPE, errno.EBADF, errno.EIO}


class ConsoleSettings(SinkSettings):
    """``sinks.NAME`` with ``type: console``."""

    type: Literal["console"] = "console"


class ConsoleSink:
    """Writes to ``stream``; by default to the ``sys.stdout`` of the moment."""

    def __init__(self, name: str, renderer: Renderer, stream: TextIO | None = None) -> None:
        self._name = name
        self._renderer = renderer
        self._stream = stream
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """The sink's name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:  # noqa: ARG002  it has one part
        """Write one whole message; messages never mix."""
        stream = self._stream or sys.stdout

        def print_it() -> None:
            text = self._renderer.render("console", "txt", message).text
            _write(stream, _painted(text, _HEADLINE[message.event.severity], stream))

        try:
            async with self._turn:
                await run_in_daemon_thread(print_it, "console")
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            gone = isinstance(error, ValueError) or error.errno in _GONE
            reason = f"can't write to the console: {safe(error)}"
            return Blocked(f"{reason}; nobody reads it any more") if gone else RetryLater(reason)
        return Sent()

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """Return the text; only a terminal adds colour."""
        text = visible(self._renderer.render("console", "txt", message).text).rstrip("\n")
        return [PreviewDocument("message.txt", f"{text}\n")]

    async def probe(self) -> SendOutcome:
        """Check that the stream is open."""
        return Blocked("the console is closed") if (self._stream or sys.stdout).closed else Sent()

    async def close(self) -> None:
        """Do nothing: the stream belongs to the process."""


def _painted(text: str, headline: str, stream: TextIO) -> str:
    """Return the text as the stream can show it: the first line in colour on a terminal, plain elsewhere."""
    first, _, rest = visible(text).rstrip("\n").partition("\n")
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=stream.isatty(), highlight=False, markup=False, emoji=False)
    console.print(Text(first, style=headline), soft_wrap=True)
    encoding = stream.encoding or "utf-8"
    # The rest has no colour; rich would take seconds for megabytes of it.
    whole = buffer.getvalue() + (f"{rest}\n\n" if rest else "\n")
    return whole.encode(encoding, "backslashreplace").decode(encoding)


def _write(stream: TextIO, document: str) -> None:
    """Write to the file descriptor if there is one, not to the stream's buffer.

    A thread stuck in a full pipe must not hold the buffer's lock, or the process could not exit.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError):  # io.StringIO has none
        stream.write(document)
        stream.flush()
        return
    stream.flush()
    left = memoryview(document.encode(stream.encoding or "utf-8", "backslashreplace"))
    while left:
        left = left[os.write(descriptor, left) :]


def build(name: str, settings: Any, renderer: Renderer) -> ConsoleSink:  # noqa: ARG001  it has nothing to set
    """Build the sink; it writes to standard output."""
    return ConsoleSink(name, renderer)


PLUGIN = SinkPlugin(settings=ConsoleSettings, build=build, extensions=("txt",))
