"""The open connections, capped: nobody can keep others out with connections that ask for nothing.

Everybody who can reach the address can open connections without a credential, and each needs a file, as polls
and deliveries do. So a connection without a whole request is the first to go, the oldest before the others:

- each address has at most ``HALF_REQUESTS`` of them, and ``PER_ADDRESS`` connections in all;
- beyond the total, the address with the most half requests loses its oldest one, then the oldest idle
  connection goes;
- where every connection is answered at the moment, ``RESERVED`` more are open to addresses that have none:
  health checks come from another address than those who ask too much.

A response that is still being sent keeps its connection.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from aiohttp import web

from cmc_notify.core.access import network_of
from cmc_notify.web.responses import Handler

HALF_REQUESTS = 32
"""Connections of one address on which a request has not arrived whole."""
PER_ADDRESS = 150
"""Connections of one address; a reverse proxy is one."""
RESERVED = 16
"""Connections above the total, one for each address."""


class _State(Enum):
    HALF = auto()
    """No whole request has arrived: nothing yet, or a part."""
    BUSY = auto()
    """A request is being answered."""
    IDLE = auto()
    """It was answered, and nothing has come since."""


class _Connection(asyncio.Protocol):
    """Passes everything on to the HTTP protocol behind it, and knows what it waits for."""

    def __init__(self, inner: asyncio.Protocol, owner: "Connections") -> None:
        self._inner = inner
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._more_came = False
        self.state = _State.HALF
        self.since = self._loop.time()
        self.address = ""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.address = network_of(str((transport.get_extra_info("peername") or ("",))[0]))
        if not self._owner.admit(self):
            transport.abort()
            self._inner = asyncio.Protocol()  # the HTTP protocol never hears of it
            return
        self._wait(_State.HALF)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.state is _State.BUSY:
            self._more_came = True
        elif self.state is _State.IDLE:
            self._wait(_State.HALF)
        self._inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._owner.forget(self)
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    @property
    def sends(self) -> bool:
        """Return True while a response is on its way out."""
        return self.state is _State.BUSY or self.transport.get_write_buffer_size() > 0

    def begin(self) -> None:
        """Note that a whole request has arrived."""
        self._stop_timer()
        self._more_came = False
        self.state = _State.BUSY

    def end(self) -> None:
        """Note that it was answered."""
        self._wait(_State.HALF if self._more_came else _State.IDLE)

    def drop(self) -> None:
        """Close it without a word, and count it no more."""
        self._stop_timer()
        self._owner.forget(self)
        self.transport.abort()

    def _wait(self, state: _State) -> None:
        self._stop_timer()
        self.state = state
        self.since = self._loop.time()
        self._timer = self._loop.call_later(self._owner.patience, self._waited)

    def _waited(self) -> None:
        if self.sends:
            self._wait(self.state)
        else:
            self.drop()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Connections:
    """All connections of one server. ``patience`` is the time in seconds for one whole request to arrive."""

    def __init__(
        self,
        *,
        total: int,
        patience: float,
        half_requests: int = HALF_REQUESTS,
        per_address: int = PER_ADDRESS,
        reserved: int = RESERVED,
    ) -> None:
        self.patience = patience
        self._total = total
        self._half_requests = half_requests
        self._per_address = per_address
        self._reserved = reserved
        self._open: dict[asyncio.BaseTransport, _Connection] = {}

    def protocol(self, make: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """Return the protocol of a new connection; ``make`` returns the HTTP protocol behind it."""
        return _Connection(make(), self)

    @web.middleware
    async def track(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keep a connection from being dropped while its request is answered; the outermost middleware."""
        transport: Any = request.transport
        connection = self._open.get(transport)
        if connection is None:
            return await handler(request)
        connection.begin()
        try:
            return await handler(request)
        finally:
            connection.end()

    def admit(self, new: _Connection) -> bool:
        """Make room for a connection; False if there is none."""
        own = [each for each in self._open.values() if each.address == new.address]
        waiting = _oldest_first(own, _State.HALF)
        if len(waiting) >= self._half_requests:
            waiting[0].drop()
        elif len(own) >= self._per_address and not self._drop_one(own):
            return False
        full = len(self._open) - self._total
        if full >= 0 and not self._drop_one(self._open.values()) and (own or full >= self._reserved):
            return False
        self._open[new.transport] = new
        return True

    def forget(self, connection: _Connection) -> None:
        """Count a connection no more; safe to repeat."""
        self._open.pop(connection.transport, None)

    def _drop_one(self, among: Any) -> bool:
        """Drop the oldest half request of the address with the most, else the oldest idle connection."""
        if half := _oldest_first(among, _State.HALF):
            [(most, _count)] = Counter(each.address for each in half).most_common(1)
            next(each for each in half if each.address == most).drop()
            return True
        if idle := _oldest_first(among, _State.IDLE):
            idle[0].drop()
            return True
        return False


def _oldest_first(among: Any, state: _State) -> list[_Connection]:
    found = [each for each in among if each.state is state and not each.sends]
    return sorted(found, key=lambda each: each.since)
