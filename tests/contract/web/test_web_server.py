"""Test the HTTP server: defects, silent connections, input that is not HTTP."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from aiohttp import ClientSession, web

from cmc_notify.core.model import JobState
from cmc_notify.errors import CmcNotifyError
from cmc_notify.web import WebServer
from support.web_fakes import (
    Client,
    FakeLedger,
)


async def test_a_defect_tells_the_log_and_not_the_reader(
    client: Client, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen error is a plain 500 without details."""

    async def fail(**_: object) -> Sequence[tuple[str, JobState]]:
        raise RuntimeError("internal detail")

    monkeypatch.setattr(ledger, "jobs", fail)
    for path in ("/", "/api/v1/jobs"):
        answer = await client.get(path)
        assert answer.status == 500
        assert "internal detail" not in await answer.text()
        assert "see the log of the bridge for the reason" in await answer.text()


async def test_the_server_tells_its_port_and_stops(app: web.Application) -> None:
    """Port 0 becomes a real one; a second server on it is refused in words; after stop nobody listens."""
    server = WebServer(app, "127.0.0.1", 0)
    port = await server.start()
    async with ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert await answer.text() == "ok\n"
        second = WebServer(web.Application(), "127.0.0.1", port)
        with pytest.raises(CmcNotifyError, match=f"127.0.0.1:{port}"):
            await second.start()
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_silent_connections_are_few_and_end(app: web.Application) -> None:
    """Who proves nothing can't use up the files that polls and deliveries need."""
    server = WebServer(app, "127.0.0.1", 0, max_connections=2, idle_timeout=0.5)
    port = await server.start()
    silent, nothing = await asyncio.open_connection("127.0.0.1", port)
    partial, begun = await asyncio.open_connection("127.0.0.1", port)
    begun.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    beyond, refused = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionResetError):
        assert await beyond.read() == b"", "it is one too many"
    assert not silent.at_eof(), "it was not the time that ended that one"
    async with asyncio.timeout(5):
        assert await silent.read() == b""
        assert await partial.read() == b""
    for writer in (nothing, begun, refused):
        writer.close()
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
        assert await answer.text() == "ok\n", "there is room again"
    await server.stop()


async def test_what_is_no_http_logs_no_traceback(
    app: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    """A port scan is answered with 400 and fills no log."""
    server = WebServer(app, "127.0.0.1", 0)
    port = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    await server.stop()
    assert caplog.records == []
