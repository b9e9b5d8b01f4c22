"""Slack's side of Socket Mode: addresses that work once, hello, envelopes, acknowledgements, disconnects.

An envelope goes to any one of the app's connections, in turn. Source: Slack's page "Using Socket Mode".
"""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

MAX_CONNECTIONS = 10
ACK_TIMEOUT = 3.0
"""Seconds until Slack shows an error to the person who pressed."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The app's acknowledgement. ``status`` is None if none came in time."""

    seconds: float
    status: int | None
    payload: Mapping[str, Any] | None = None
    """The content of the acknowledgement: a command's text."""


class SlackSockets:
    """The connections of one app."""

    def __init__(self) -> None:
        self.connections: list[web.WebSocketResponse] = []
        self.opened_count = 0
        """The number of connections ever opened."""
        self._tickets: set[str] = set()
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any] | None]] = {}
        self._turn = 0
        self._changed = asyncio.Condition()

    def open(self, base: str) -> dict[str, Any]:
        """Return the response of ``apps.connections.open``: an address that works once."""
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return {
            "ok": True,
            "url": f"{base.replace('http', 'ws', 1)}/link/?ticket={ticket}&app_id=A0SIMULATED",
        }

    async def wait_connected(self, count: int = 1, *, seconds: float = 20) -> None:
        """Return once ``count`` connections are open; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.connections) == count)

    async def wait_opened(self, count: int, *, seconds: float = 20) -> None:
        """Return once ``count`` connections were opened in total; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: self.opened_count >= count)

    async def deliver(self, kind: str, payload: object, *, answers: bool = False) -> Ack:
        """Send one envelope to one connection, and return its acknowledgement."""
        envelope_id = secrets.token_hex(8)
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "accepts_response_payload": answers,
            "payload": payload,
        }
        self._waiting[envelope_id] = waiting = asyncio.get_running_loop().create_future()
        started = time.monotonic()
        await self.send(json.dumps(envelope))
        try:
            async with asyncio.timeout(ACK_TIMEOUT):
                ack_payload = await waiting
        except TimeoutError:
            return Ack(time.monotonic() - started, None)
        finally:
            del self._waiting[envelope_id]
        return Ack(time.monotonic() - started, 200, ack_payload)

    async def send(self, text: str) -> None:
        """Send any text to the next connection in turn."""
        connection = self.connections[self._turn % len(self.connections)]
        self._turn += 1
        await connection.send_str(text)

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask the app to replace every connection, as Slack does every few hours."""
        for connection in tuple(self.connections):
            await connection.send_json({"type": "disconnect", "reason": reason, "debug_info": {}})

    async def drop(self) -> None:
        """Cut every connection without a close message."""
        for connection in tuple(self.connections):
            if connection._req is not None and connection._req.transport is not None:  # noqa: SLF001  aiohttp has no public way to cut
                connection._req.transport.abort()  # noqa: SLF001

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403, text="ticket used or unknown")
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        if len(self.connections) >= MAX_CONNECTIONS:
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        await self._change(socket, joined=True)
        try:
            await socket.send_json(self._hello())
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acknowledged(json.loads(message.data))
        finally:
            await self._change(socket, joined=False)
        return socket

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "num_connections": len(self.connections),
            "connection_info": {"app_id": "A0SIMULATED"},
            "debug_info": {"host": "applink-simulated", "approximate_connection_time": 18060},
        }

    def _acknowledged(self, response: dict[str, Any]) -> None:
        waiting = self._waiting.get(str(response.get("envelope_id")))
        if waiting is not None and not waiting.done():
            waiting.set_result(response.get("payload"))

    async def _change(self, socket: web.WebSocketResponse, *, joined: bool) -> None:
        async with self._changed:
            if joined:
                self.connections.append(socket)
                self.opened_count += 1
            else:
                self.connections.remove(socket)
            self._changed.notify_all()
