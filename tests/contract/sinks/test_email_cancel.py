"""Test cancelled sends, a store that fails, and the probe."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from cmc_notify.core.outcome import Blocked, RetryLater, Sent
from cmc_notify.core.text import visible
from cmc_notify.ports import Message, Posting, Renderer
from cmc_notify.simulator.mailbox import Mail, Mailbox
from support.email_sink import HOSTILE, content, sink_for

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]


async def test_a_cancelled_send_leaves_nothing_behind(
    make_message: MakeMessage, renderer: Renderer, record: Any, start_post_office: StartPostOffice
) -> None:
    """Cancelled in the middle of a mail, the connection is gone at once and the sink goes on."""
    office = await start_post_office()
    office.answers["DATA"] = "silent"
    sink = sink_for(office.port, renderer)
    task = asyncio.create_task(sink.send(make_message(), record))
    await office.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert record.recorded == {}
    del office.answers["DATA"]
    assert isinstance(await sink.send(make_message(), record), Sent)


async def test_a_cancelled_mails_connection_is_cut(
    make_message: MakeMessage, renderer: Renderer, record: Any
) -> None:
    """A cancelled mail's connection is cut at once, without another word."""
    goodbye: asyncio.Queue[bytes] = asyncio.Queue()
    asked = asyncio.Event()

    async def stop_at_the_sender(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 slow\r\n")
        await reader.readline()
        writer.write(b"250 slow\r\n")
        await reader.readline()
        asked.set()
        with suppress(ConnectionError):
            await goodbye.put(await reader.read())
        writer.close()

    async with await asyncio.start_server(stop_at_the_sender, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        task = asyncio.create_task(sink_for(port, renderer).send(make_message(), record))
        await asked.wait()
        task.cancel()
        async with asyncio.timeout(5):
            assert await goodbye.get() == b""
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_a_store_that_fails_is_not_the_servers_fault(
    make_message: MakeMessage, renderer: Renderer, start_post_office: StartPostOffice
) -> None:
    """If an accepted part can't be recorded, the store's own error is raised; it is not an outcome."""
    office = await start_post_office()

    async def broken(_part: str, _receipt: str, *, posting: Posting | None = None) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await sink_for(office.port, renderer).send(make_message(), broken)


async def test_a_probe_sends_no_mail(renderer: Renderer, start_post_office: StartPostOffice) -> None:
    """A probe names sender and recipients and leaves; it names refused ones, and blocks if all are."""
    office = await start_post_office()
    sink = sink_for(office.port, renderer)
    assert await sink.probe() == Sent()
    assert office.goodbyes == 1
    office.answers["ops@example.net"] = "550 no such user"
    assert await sink.probe() == Sent("refused: ops@example.net (550 no such user)")
    office.answers["noc@example.net"] = "450 busy"
    assert isinstance(await sink.probe(), RetryLater)
    office.answers["noc@example.net"] = "550 no such user"
    assert isinstance(await sink.probe(), Blocked)
    assert not office.mails


async def test_the_demos_mailbox_keeps_mails_whole(
    make_message: MakeMessage, renderer: Renderer, record: Any
) -> None:
    """The small server of the demo shows what was sent, stuffed dots removed, and ends cleanly."""
    shown: list[Mail] = []
    async with Mailbox(on_mail=shown.append) as mailbox:
        sink = sink_for(mailbox.port, renderer, cc="cc@example.net", reply_to="help@example.net")
        for number in range(2):
            message = msgspec.structs.replace(make_message(texts=HOSTILE), key=f"key{number}")
            assert isinstance(await sink.send(message, record), Sent)
        await mailbox.wait(lambda box: len(box.mails) == 2)
        _, writer = await asyncio.open_connection("127.0.0.1", mailbox.port)
        writer.close()
    mail = shown[0].message
    assert shown[0].recipients == ("noc@example.net", "ops@example.net", "cc@example.net")
    assert mail["Cc"] == "cc@example.net"
    assert mail["Reply-To"] == "help@example.net"
    assert all(visible(text) in content(mail, "plain") for text in HOSTILE)
