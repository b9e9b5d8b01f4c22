"""The listening socket: starts on an address, tells the port, stops without cutting answers off.

Whoever can reach it can open connections without proving anything, so their number and the time that one
may say nothing are bounded: polls and deliveries need files and sockets, too.
"""

import asyncio
import logging

from aiohttp import web

from cmc_notify.errors import CmcNotifyError

STOP_WITHIN = 2.0
"""Seconds that answers in flight get at stop; deliveries need the rest of the grace."""
MOST_CONNECTIONS = 200
"""What is beyond is closed unheard; a process often may open no more than 1,024 files."""
SILENCE = 15.0
"""Seconds that a connection may go without a whole request."""

# Requests that are no HTTP (port scans, TLS on a plain port) would each log a traceback; what our own
# handlers do wrong is logged in answers.py.
_PROTOCOL_LOG = logging.getLogger("cmc_notify.web.protocol")
_PROTOCOL_LOG.setLevel(logging.CRITICAL)


class _Refusal(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class WebServer:
    """Serves one application on one address. Port 0 lets the system choose."""

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        *,
        most_connections: int = MOST_CONNECTIONS,
        silence: float = SILENCE,
    ) -> None:
        # No access log: probes would drown the rest, and addresses can hold signatures.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=STOP_WITHIN,
            keepalive_timeout=silence,
            logger=_PROTOCOL_LOG,
        )
        self._host = host
        self._port = port
        self._most = most_connections
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the actual port. Raises CmcNotifyError where the address can't be had."""
        await self._runner.setup()
        serve = self._runner.server
        assert serve is not None, "set up"

        def protocol() -> asyncio.Protocol:
            return serve() if len(serve.connections) < self._most else _Refusal()

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

    async def stop(self) -> None:
        """Take no more requests, finish those in flight, close. Harmless when never started."""
        if self._listener:
            self._listener.close()
        await self._runner.cleanup()
