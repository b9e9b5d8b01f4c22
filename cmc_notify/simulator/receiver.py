"""A webhook endpoint of a ticketing system: records requests, checks signatures, responds by a script.

It checks Standard Webhooks signatures by the specification, and shares no code with the sink that makes
them. https://www.standardwebhooks.com
"""

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import msgspec
from aiohttp import web
from msgspec import Struct

TOLERANCE = 300
"""Seconds that a timestamp may differ from the receiver's clock."""
LARGEST_BODY = 64 * 1024 * 1024


class ScriptedResponse(Struct, frozen=True):
    """The reaction to one request: ``reset`` cuts the connection after the body, ``hang`` never responds."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: str = ""
    action: Literal["respond", "reset", "hang"] = "respond"


class Received(Struct, frozen=True):
    """One received request. ``problem`` is the reason why its signature was refused, or None."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lowercase."""
    body: bytes
    status: int | None
    """The response's status; None without a response."""
    problem: str | None

    @property
    def document(self) -> Any:
        """Return the body's JSON value."""
        return msgspec.json.decode(self.body)

    @property
    def id(self) -> str | None:
        """Return the ``webhook-id``: the same for each repeat of a message."""
        return self.headers.get("webhook-id")


class Receiver:
    """Listens on loopback. Responds from ``script`` first, then with ``otherwise``.

    HEAD requests, by which a sender may check whether somebody listens, are kept apart in ``probes`` and are
    answered with ``probe_status``.
    """

    def __init__(
        self, *, secrets: Sequence[str] = (), on_request: Callable[[Received], None] | None = None
    ) -> None:
        """With ``secrets`` (``whsec_…``) a request that none of them has signed gets 401."""
        self.requests: list[Received] = []
        self.probes: list[Received] = []
        self.script: deque[ScriptedResponse] = deque()
        self.otherwise = ScriptedResponse()
        self.probe_status = 200
        self._secrets = tuple(secrets)
        self._on_request = on_request
        self._changed = asyncio.Condition()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Return its address, without a path; it serves any path."""
        return self._url

    async def start(
        self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Start listening; port 0 takes a free one."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        bound = self._runner.addresses[0][1]
        self._url = f"{'https' if tls else 'http'}://{host}:{bound}"
        return self

    async def stop(self) -> None:
        """End hanging requests, and stop listening."""
        self._stopping.set()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return self if self._runner else await self.start()

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def wait(self, until: Callable[[Self], bool], *, timeout: float = 10.0) -> None:  # noqa: ASYNC109  callers read better so
        """Return as soon as ``until(self)`` holds; raises TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: until(self))

    @property
    def accepted(self) -> list[Received]:
        """Return the requests that got a success status, without repeats of a webhook-id."""
        first: dict[str | None, Received] = {}
        for request in self.requests:
            if request.status is not None and request.status < 300:  # noqa: PLR2004  HTTP's own number
                first.setdefault(request.id, request)
        return list(first.values())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        problem = signature_problem(headers, body, self._secrets, now=time.time()) if self._secrets else None
        is_probe = request.method == "HEAD"
        if is_probe:
            response = ScriptedResponse(self.probe_status)
        elif problem:
            response = ScriptedResponse(401, body=problem)
        else:
            response = self.script.popleft() if self.script else self.otherwise
        status = response.status if response.action == "respond" else None
        received = Received(
            request.method, request.path_qs, headers, body, status, None if is_probe else problem
        )
        await self._record(received, self.probes if is_probe else self.requests)
        if response.action == "hang":
            await self._stopping.wait()
        if response.action != "respond" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=response.status, headers=response.headers, text=response.body)

    async def _record(self, received: Received, among: list[Received]) -> None:
        async with self._changed:
            among.append(received)
            self._changed.notify_all()
        if self._on_request and received.method != "HEAD":
            self._on_request(received)


def signature_problem(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], *, now: float
) -> str | None:
    """Return the reason to distrust a message, or None if one of ``secrets`` signed it."""
    message_id, timestamp = headers.get("webhook-id"), headers.get("webhook-timestamp")
    signatures = headers.get("webhook-signature")
    if not message_id or not timestamp or not signatures:
        return "webhook-id, webhook-timestamp or webhook-signature is missing"
    if not timestamp.isdecimal() or abs(int(timestamp) - now) > TOLERANCE:
        return "the timestamp is too far from this clock"
    signed = message_id.encode() + b"." + timestamp.encode() + b"." + body
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
        if any(hmac.compare_digest(expected, given.encode()) for given in signatures.split()):
            return None
    return "no signature matches"
