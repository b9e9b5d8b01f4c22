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
    """The oldest one that asks for nothing makes room for the newest; time ends the others."""
    server = WebServer(app, "127.0.0.1", 0, max_connections=2, idle_timeout=0.5)
    port = await server.start()
    silent, nothing = await asyncio.open_connection("127.0.0.1", port)
    partial, begun = await asyncio.open_connection("127.0.0.1", port)
    begun.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    newest, asks = await asyncio.open_connection("127.0.0.1", port)
    asks.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    async with asyncio.timeout(5):
        assert await newest.readline() == b"HTTP/1.1 200 OK\r\n"
        with suppress(ConnectionResetError):
            assert await silent.read() == b""
        with suppress(ConnectionResetError):
            assert await partial.read() == b"", "its time is over"
    for writer in (nothing, begun, asks):
        writer.close()
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
        assert await answer.text() == "ok\n", "there is room again"
    await server.stop()


async def _healthy(port: int, address: str) -> bool:
    """One probe of ``/healthz`` on a new connection from this address."""
    async with asyncio.timeout(2):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            found = await reader.read()
        except ConnectionError:
            return False
        writer.close()
        return found.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHo"])
async def test_half_requests_keep_nobody_out(app: web.Application, begin: bytes) -> None:
    """With 300 half requests held open from one address, every probe from another is answered."""
    server = WebServer(app, "127.0.0.1", 0)
    port = await server.start()
    held = []
    for _ in range(300):
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        writer.write(begin)
        held.append(writer)
    answered = [await _healthy(port, "127.0.0.1") for _ in range(30)]
    assert answered == [True] * 30
    assert await _healthy(port, "127.0.0.2"), "the oldest half request makes room for the newest, too"
    for writer in held:
        writer.close()
    await server.stop()


async def test_a_dripped_body_and_slow_answers_keep_nobody_out() -> None:
    """Whole heads whose bodies never come, and answers that take long: probes from elsewhere are answered."""
    going = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await going.wait()
        return web.Response(text=str(request.path))

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application()
    app.add_routes([web.post("/slow", slow), web.get("/healthz", alive)])
    server = WebServer(app, "127.0.0.1", 0, max_connections=20)
    port = await server.start()
    held = []
    for number in range(40):
        connection = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(f"127.0.0.{2 + number % 2}", 0)
        )
        connection[1].write(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1")
        held.append(connection)
    assert [await _healthy(port, "127.0.0.1") for _ in range(10)] == [True] * 10
    going.set()
    for _reader, writer in held:
        writer.close()
    await server.stop()


async def test_an_answer_that_is_read_slowly_arrives_whole() -> None:
    """The time limit is for requests: a response still on its way keeps its connection."""
    size = 8_000_000

    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * size)

    app = web.Application()
    app.router.add_get("/", large)
    server = WebServer(app, "127.0.0.1", 0, idle_timeout=0.2)
    port = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(10):
        got = len(await reader.readuntil(b"\r\n\r\n")) * 0
        for _ in range(5):
            got += len(await reader.readexactly(1000))
            await asyncio.sleep(0.1)  # a slow reader is the point
        got += len(await reader.readexactly(size - got))
    assert got == size
    writer.close()
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
