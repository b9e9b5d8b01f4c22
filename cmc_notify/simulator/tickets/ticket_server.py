"""The common base of the ticketing services: a server, faults on demand, tickets with their history."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

from aiohttp import web

LARGEST_BODY = 64 * 1024 * 1024


class Refusal(Exception):
    """The vendor's response to a call that it refuses."""

    def __init__(self, status: int, document: Any) -> None:
        super().__init__(f"{status}: {document}")
        self.status = status
        self.document = document


@dataclass(frozen=True, slots=True)
class ServiceFault:
    """The fault of one call: ``drop`` ends the connection once the body is read, ``hang`` never responds.

    With ``done`` the call has its effect first. ``respond`` sends ``status`` and ``body`` instead.
    """

    kind: Literal["drop", "hang", "respond"]
    done: bool = False
    status: int = 200
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class ServedTicket:
    """One ticket. ``history`` has each action on it, with the texts that people would see."""

    id: str
    key: str
    """The key by which its sender finds it again."""
    open: bool = True
    history: list[tuple[str, str]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> list[str]:
        """Return the actions on it, in order."""
        return [action for action, _ in self.history]


class Call(NamedTuple):
    """One request to a service."""

    request: web.Request
    document: Any
    """The body's JSON value; None without one."""
    raw: bytes


class ServiceResponse(NamedTuple):
    """A service's response to a call that it accepts."""

    status: int
    document: Any = None


Handler = Callable[[Call], ServiceResponse]
Route = tuple[str, str, str, Handler]
"""HTTP method, path, the operation's name, and its handler."""


class TicketServer(ABC):
    """A service on loopback: ``async with TicketServer() as server``, or ``start`` and ``stop``."""

    def __init__(self, *, authorization: str | None = None) -> None:
        """``authorization`` is the required header; None accepts any."""
        self.authorization = authorization
        self.tickets: list[ServedTicket] = []
        self.calls: list[tuple[str, Any]] = []
        """Operation and document of each call, also of refused ones."""
        self.refusals: list[Refusal] = []
        self.applied: list[str] = []
        """Operations that had an effect, without reads."""
        self.url = ""
        self._faults: dict[str, deque[ServiceFault | None]] = defaultdict(deque)
        self._changed = asyncio.Condition()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Return the routes. Operations that begin with ``get`` only read."""

    @abstractmethod
    def unauthorized(self) -> Any:
        """Return the vendor's response to wrong credentials."""

    def open_tickets(self) -> list[ServedTicket]:
        """Return the tickets that nobody has closed."""
        return [ticket for ticket in self.tickets if ticket.open]

    def by_key(self, key: str) -> list[ServedTicket]:
        """Return the tickets of a key, the oldest first."""
        return [ticket for ticket in self.tickets if ticket.key == key]

    def fail_next(self, operation: str, *faults: ServiceFault, after: int = 0) -> None:
        """Let the next calls of an operation meet these faults, after ``after`` calls that succeed."""
        self._faults[operation].extend([*[None] * after, *faults])

    async def wait(self, condition: Callable[[Self], bool], *, seconds: float = 10) -> None:
        """Return as soon as ``condition(server)`` holds, checked at every call; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def start(self, port: int = 0) -> Self:
        """Listen on loopback."""
        app = web.Application(client_max_size=LARGEST_BODY)
        for method, path, operation, handler in self.routes():
            app.router.add_route(method, path, self._serving(operation, handler))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        """Close the server and end hanging calls."""
        self._stopping.set()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _serving(self, operation: str, handler: Handler) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            faults = self._faults[operation]
            fault = faults.popleft() if faults else None
            response = web.Response(status=500)
            if fault is None or fault.done:
                response = self._act(operation, handler, request, raw)
            self.calls.append((operation, _decoded(raw)))
            async with self._changed:
                self._changed.notify_all()
            if fault is None:
                return response
            if fault.kind == "respond":
                return web.Response(status=fault.status, text=fault.body, headers=dict(fault.headers))
            if fault.kind == "hang":
                await self._stopping.wait()
            if request.transport is not None:
                request.transport.abort()
            return response

        return serve

    def _act(self, operation: str, handler: Handler, request: web.Request, raw: bytes) -> web.Response:
        try:
            self._admit(request)
            status, document = handler(Call(request, _decoded(raw), raw))
        except Refusal as refusal:
            self.refusals.append(refusal)
            return web.json_response(refusal.document, status=refusal.status)
        if not operation.startswith("get"):
            self.applied.append(operation)
        if document is None:
            return web.Response(status=status)
        return web.json_response(document, status=status)

    def _admit(self, request: web.Request) -> None:
        if self.authorization is not None and request.headers.get("Authorization") != self.authorization:
            raise Refusal(401, self.unauthorized())


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None


def text_of(document: Mapping[str, Any], name: str) -> str:
    """Return a text of a checked document; empty if there is none."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def units(text: str) -> int:
    """Return the number of UTF-16 units, as the strictest vendor counts characters."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
