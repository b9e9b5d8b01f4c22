"""The listening socket: starts on an address, tells the port, stops without cutting answers off.

It can replace_app another application in place of the first, and no connection is refused in between.

Whoever can reach it can open connections without proving anything, so their number and the time that one
may say nothing are bounded: polls and deliveries need files and sockets, too.
"""

import asyncio
import logging

from aiohttp import web

from cmc_notify.errors import CmcNotifyError

STOP_TIMEOUT = 2.0
"""Seconds that answers in flight get at stop; deliveries need the rest of the grace."""
MAX_CONNECTIONS = 200
"""What is beyond is closed unheard; a process often may open no more than 1,024 files."""
IDLE_TIMEOUT = 15.0
"""Seconds that a connection may go without a whole request."""

# Requests that are no HTTP (port scans, TLS on a plain port) would each log a traceback; what our own
# handlers do wrong is logged in answers.py.
_PROTOCOL_LOG = logging.getLogger("cmc_notify.web.protocol")
_PROTOCOL_LOG.setLevel(logging.CRITICAL)


class _ConnectionRejecter(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class WebServer:
    """Serves one application at a time on one address. Port 0 lets the system choose."""

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        *,
        max_connections: int = MAX_CONNECTIONS,
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> None:
        self._idle_timeout = idle_timeout
        self._runner = self._runner_of(app)
        self._host = host
        self._port = port
        self._max_connections = max_connections
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the actual port. Raises CmcNotifyError where the address can't be had."""
        await self._runner.setup()

        def protocol() -> asyncio.Protocol:
            serve = self._runner.server
            return (
                serve() if serve and len(serve.connections) < self._max_connections else _ConnectionRejecter()
            )

        try:
            self._listener = await asyncio.get_running_loop().create_server(protocol, self._host, self._port)
        except OSError as error:
            await self._runner.cleanup()
            reason = error.strerror or error
            raise CmcNotifyError(
                f"http.listen: can't listen on {self._host}:{self._port}: {reason};"
                " choose another address or stop what holds it"
            ) from error
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def replace_app(self, app: web.Application) -> None:
        """Serve this application from now on; requests in flight are answered by the one before."""
        runner = self._runner_of(app)
        await runner.setup()
        before, self._runner = self._runner, runner
        await before.cleanup()  # closes idle connections: their next request opens a new one, and is ours

    async def stop(self) -> None:
        """Take no more requests, finish those in flight, close. Harmless when never started."""
        if self._listener:
            self._listener.close()
        await self._runner.cleanup()

    def _runner_of(self, app: web.Application) -> web.AppRunner:
        # No access log: probes would drown the rest, and addresses can hold signatures.
        return web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=STOP_TIMEOUT,
            keepalive_timeout=self._idle_timeout,
            logger=_PROTOCOL_LOG,
        )
