"""A Slack-like server on loopback, for the demo and for tests.

It accepts messages, threads and files as Slack documents it (``slack_workspace``). On request it fails: it
refuses, limits the rate, loses a response before or after it stored the message, or hangs.
"""

import asyncio
import json
import ssl
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

from aiohttp import web

from cmc_notify.simulator.slack_messages import SlackMessage
from cmc_notify.simulator.slack_workspace import SlackWorkspace

__all__ = ["WEBHOOK", "Fault", "SlackMessage", "SlackServer", "refusal_with"]

WEBHOOK = "webhook"
"""The name of the incoming webhook among the methods that can be made to fail."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault of one call: ``drop`` ends the connection once the body is read, ``hang`` never responds.

    With ``done`` the call has its effect first. ``respond`` sends ``status`` and ``body`` instead.
    """

    kind: Literal["drop", "hang", "respond"]
    done: bool = False
    status: int = 200
    body: str = ""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def refusal_with(code: str, **more: Any) -> Fault:
    """Return Slack's form of refusal: HTTP 200 with ``ok: false``."""
    return Fault("respond", body=json.dumps({"ok": False, "error": code, **more}))


class SlackServer(SlackWorkspace):
    """A workspace on loopback: ``async with SlackServer() as slack``, or ``start`` and ``stop``."""

    def __init__(self, **workspace: Any) -> None:
        """Take the arguments of SlackWorkspace."""
        super().__init__(**workspace)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Method and arguments of every call, also of refused ones."""
        self.webhook_path = "/services/T0SIMULATED/B0SIMULATED/simulated-secret"
        self._faults: dict[str, deque[Fault | None]] = defaultdict(deque)
        self._changed = asyncio.Condition()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def api_url(self) -> str:
        """Return the value for the sink's ``api_url``."""
        return f"{self.base}/api/"

    @property
    def webhook_url(self) -> str:
        """Return the value for the sink's ``webhook_url``."""
        return f"{self.base}{self.webhook_path}"

    def fail_next(self, method: str, *faults: Fault | None, after: int = 0) -> None:
        """Let the next calls of ``method`` (or WEBHOOK, or ``upload``) meet these faults, one each.

        None is a call that succeeds; ``after`` is the number of calls that succeed first.
        """
        self._faults[method].extend([*[None] * after, *faults])

    def rate_limit(self, method: str, *, seconds: int, count: int = 1) -> None:
        """Respond to the next ``count`` calls of ``method`` with 429 and Retry-After."""
        limited = Fault(
            "respond",
            status=429,
            body=json.dumps({"ok": False, "error": "ratelimited"}),
            headers=(("Retry-After", str(seconds)),),
        )
        self.fail_next(method, *[limited] * count)

    async def wait(self, condition: Callable[[Self], bool], *, seconds: float = 10) -> None:
        """Return as soon as ``condition(server)`` holds, checked at every call; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def start(self, port: int = 0, *, ssl_context: ssl.SSLContext | None = None) -> int:
        """Listen on loopback, with ``ssl_context`` for TLS; returns the port."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_post(self.webhook_path, self._webhook)
        app.router.add_post("/services/{rest:.*}", self._no_service)
        self.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=ssl_context).start()
        bound: int = self._runner.addresses[0][1]
        self.base = f"{'https' if ssl_context else 'http'}://127.0.0.1:{bound}"
        return bound

    def add_routes(self, app: web.Application) -> None:
        """Add further routes; a subclass (``slack_people``) overrides this."""

    async def stop(self) -> None:
        """Close the server and end hanging calls."""
        self._stopping.set()
        if self._runner:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- requests ---------------------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        arguments = await _arguments(request)
        header = request.headers.get("Authorization", "")
        return await self._handle_call(
            request, method, arguments, lambda: self._do(method, arguments, header)
        )

    async def _webhook(self, request: web.Request) -> web.StreamResponse:
        arguments = await _arguments(request)
        return await self._handle_call(request, WEBHOOK, arguments, lambda: self._do_webhook(arguments))

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        file = self.file(request.match_info["file"])

        def store() -> web.Response:
            if file is None or len(content) != file.length:
                return web.Response(status=400, text="upload refused")
            file.content = content
            return web.Response(text=f"OK - {len(content)}")

        return await self._handle_call(request, "upload", {"file": request.match_info["file"]}, store)

    async def _no_service(self, _request: web.Request) -> web.Response:
        return web.Response(status=404, text="no_service")

    async def _handle_call(
        self,
        request: web.Request,
        method: str,
        arguments: dict[str, Any],
        act: Callable[[], web.Response],
    ) -> web.StreamResponse:
        """Do the call unless it meets a fault; in either case notify the waiting tests."""
        fault = self._faults[method].popleft() if self._faults[method] else None
        response = act() if fault is None or fault.done else web.Response(status=500)
        self.calls.append((method, arguments))
        async with self._changed:
            self._changed.notify_all()
        if fault is None:
            return response
        if fault.kind == "respond":
            return web.Response(
                status=fault.status,
                body=fault.body.encode(),
                content_type=fault.content_type,
                headers=dict(fault.headers),
            )
        if fault.kind == "hang":
            await self._stopping.wait()
        if request.transport is not None:
            request.transport.abort()
        return response

    def _do(self, method: str, arguments: dict[str, Any], header: str) -> web.Response:
        answer, status, headers = self.answer(method, arguments, header)
        headers["X-OAuth-Scopes"] = ",".join(sorted(self.scopes))
        return web.json_response(answer, status=status, headers=headers)

    def _do_webhook(self, arguments: dict[str, Any]) -> web.Response:
        text, status, headers = self.take_webhook(arguments)
        return web.Response(text=text, status=status, headers=headers)


async def _arguments(request: web.Request) -> dict[str, Any]:
    """Return the arguments: Slack takes them from the query, a form or a JSON body."""
    arguments: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = await request.json()
        except ValueError:
            return {}
        return {**arguments, **body} if isinstance(body, dict) else {}
    return {**arguments, **{name: str(value) for name, value in (await request.post()).items()}}
