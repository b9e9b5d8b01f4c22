"""The web server: listens on an address, returns the port, and stops without cutting off responses.

The application can be replaced by another one, and no connection is refused during the change.

Everybody who can reach the address can open connections without a token. So their number and their idle time
are bounded (``connections.py``): polls and deliveries need files and sockets, too.
"""

import asyncio
import logging

from aiohttp import web

from cmc_notify.errors import CmcNotifyError
from cmc_notify.web.connections import Connections

STOP_TIMEOUT = 2.0
"""Seconds for responses in flight at a stop; deliveries need the rest of the grace time."""
MAX_CONNECTIONS = 200
"""At the same time; many systems allow a process only 1,024 open files."""
BACKLOG = 256
"""Connections that the system keeps until they are accepted."""
IDLE_TIMEOUT = 15.0
"""Seconds that a connection may stay open without a complete request."""

# Requests that are not HTTP (port scans, TLS on a plain port) would each log a traceback. Errors of our own
# handlers are logged in responses.py.
_PROTOCOL_LOG = logging.getLogger("cmc_notify.web.protocol")
_PROTOCOL_LOG.setLevel(logging.CRITICAL)


class WebServer:
    """Serves one application at a time on one address. With port 0 the system chooses a port."""

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
        self._connections = Connections(total=max_connections, patience=idle_timeout)
        self._runner = self._runner_of(app)
        self._host = host
        self._port = port
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; return the actual port. Raises CmcNotifyError if the address can't be used."""
        await self._runner.setup()

        def protocol() -> asyncio.Protocol:
            serve = self._runner.server
            assert serve is not None
            return self._connections.protocol(serve)

        try:
            self._listener = await asyncio.get_running_loop().create_server(
                protocol, self._host, self._port, backlog=BACKLOG
            )
        except OSError as error:
            await self._runner.cleanup()
            reason = error.strerror or error
            raise CmcNotifyError(
                f"http.listen: can't listen on {self._host}:{self._port}: {reason};"
                " choose another address, or stop the program that uses it"
            ) from error
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def replace_app(self, app: web.Application) -> None:
        """Serve this application from now on; the previous one finishes the requests in flight."""
        runner = self._runner_of(app)
        await runner.setup()
        before, self._runner = self._runner, runner
        await (
            before.cleanup()
        )  # closes idle connections: their next request opens a new one, for the new application

    async def stop(self) -> None:
        """Accept no more requests, finish those in flight, close. Safe if never started."""
        if self._listener:
            self._listener.close()
        await self._runner.cleanup()

    def _runner_of(self, app: web.Application) -> web.AppRunner:
        app.middlewares.insert(0, self._connections.track)
        # No access log: health checks would fill it, and URLs can hold signatures.
        return web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=STOP_TIMEOUT,
            keepalive_timeout=self._idle_timeout,
            logger=_PROTOCOL_LOG,
        )
