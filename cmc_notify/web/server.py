"""The listening socket: starts on an address, tells the port, stops without cutting answers off."""

from aiohttp import web

from cmc_notify.errors import CmcNotifyError

STOP_WITHIN = 2.0
"""Seconds that answers in flight get at stop; deliveries need the rest of the grace."""


class WebServer:
    """Serves one application on one address. Port 0 lets the system choose."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        # No access log: probes would drown the rest, and addresses can hold signatures.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_WITHIN)
        self._host = host
        self._port = port

    async def start(self) -> int:
        """Listen; returns the actual port. Raises CmcNotifyError where the address can't be had."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            reason = error.strerror or error
            raise CmcNotifyError(
                f"http.listen: can't listen on {self._host}:{self._port}: {reason};"
                " choose another address or stop what holds it"
            ) from error
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Take no more requests, finish those in flight, close. Harmless when never started."""
        await self._runner.cleanup()
