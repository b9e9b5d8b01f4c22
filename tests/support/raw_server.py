"""A server that says exactly the bytes that it is given, and a client of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from cmc_notify.controller import Controller
from cmc_notify.settings.controller import ControllerSettings

JOBS = "/api/cmc.configurator/1.0/jobs"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
Talk = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def client(url: str, **settings: Any) -> Controller:
    """A client with these settings."""
    return Controller("emea", ControllerSettings.model_validate({"url": url, **settings}))


@asynccontextmanager
async def raw_server(talk: Talk, **options: Any) -> AsyncIterator[str]:
    """A server that reads a request's head and lets ``talk`` answer it byte by byte."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"/services" in head:
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                else:
                    await talk(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def says(data: bytes) -> Talk:
    """Write this and hang up."""

    async def talk(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return talk


# --- TLS ----------------------------------------------------------------------------------------------


async def no_jobs(_: web.Request) -> web.Response:
    """An empty job list."""
    return web.json_response([])
