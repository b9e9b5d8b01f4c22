"""The console sink on real files, pipes and a terminal."""

import asyncio
import io
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cmc_notify.core.outcome import Blocked, Sent
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, PartRecorder, Rendered, Renderer
from cmc_notify.sinks.console import PLUGIN, ConsoleSettings, ConsoleSink

MakeMessage = Callable[..., Message]
HOSTILE = "\x1b[2J\x1b]0;owned\x07 [bold red]x[/bold red] \u202e :smile: {{ 7 }}\r\nnext\tline \x85"


async def test_a_message_is_plain_where_there_is_no_terminal(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """Into a file goes the text as rendered, whole, no line broken, without any colour."""
    stream = io.StringIO()
    message = make_message(texts=("x" * 500, HOSTILE))
    assert await ConsoleSink("screen", renderer, stream).send(message, record) == Sent()
    expected = renderer.render("console", "txt", message).text
    assert stream.getvalue().strip() == expected.strip()


async def test_a_terminal_gets_colour_and_no_outside_control(
    make_message: MakeMessage, record: PartRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal only our own colours are controls; hostile text is shown, not obeyed."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    class Raw:
        """A renderer whose template hides nothing."""

        def render(self, *_: Any, **__: Any) -> Any:
            return Rendered(f"headline\n{HOSTILE}")

    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        assert await ConsoleSink("screen", Raw(), stream).send(make_message(), record) == Sent()
        written = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\x1b[1;31mheadline\x1b[0m" in written
    bare = re.sub(r"\x1b\[[0-9;]*m", "", written)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", bare)
    assert "[bold red]x[/bold red]" in bare
    assert ":smile:" in bare
    assert visible(HOSTILE.splitlines()[0]) in bare


async def test_a_stream_that_knows_little_shows_all(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """A character that an ASCII stream lacks is written as its code, and the message is not lost."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    assert await ConsoleSink("screen", renderer, stream).send(make_message(texts=("café",)), record) == Sent()
    assert b"caf\\xe9" in raw.getvalue()


async def test_a_reader_that_left_blocks(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """A closed pipe or stream holds the queue instead of losing messages or ending the bridge."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    sink = ConsoleSink("screen", renderer, stream)
    assert isinstance(await sink.probe(), Sent)
    assert isinstance(await sink.send(make_message(), record), Blocked)
    stream.close()
    assert isinstance(await sink.send(make_message(), record), Blocked)
    assert isinstance(await sink.probe(), Blocked)


async def test_a_full_pipe_delays_nobody_else(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder
) -> None:
    """While nobody reads, the loop goes on; the messages come whole and in order once somebody does."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream, os.fdopen(reading, encoding="utf-8") as reader:
        sink = ConsoleSink("screen", renderer, stream)
        sends = [
            asyncio.create_task(sink.send(make_message(texts=(letter * 200_000,)), record)) for letter in "ab"
        ]
        done, _ = await asyncio.wait(sends, timeout=0.05)
        assert not done
        lines = await asyncio.to_thread(lambda: [reader.readline() for _ in range(6)])
        assert await asyncio.gather(*sends) == [Sent(), Sent()]
    text = "".join(lines)
    assert "a" * 200_000 in text
    assert text.index("b" * 200_000) > text.index("a" * 200_000)


async def test_standard_output_is_the_default(
    make_message: MakeMessage, renderer: Renderer, record: PartRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configured sink writes to standard output."""
    sink = PLUGIN.build("screen", ConsoleSettings(), renderer)
    assert sys.stdout is not sys.__stdout__
    assert await sink.send(make_message(), record) == Sent()
    await sink.close()
    assert "V2AB0001 QoS: the push timed out" in capsys.readouterr().out
