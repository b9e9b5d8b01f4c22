"""One bridge process: the store, the web server, and the engine that a reload replaces."""

import asyncio
import sys
import time
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import structlog

from cmc_notify.app.engine import Engine
from cmc_notify.app.making import Plugins
from cmc_notify.core.links import Links
from cmc_notify.ports import Clock
from cmc_notify.settings import Settings
from cmc_notify.settings.root import HttpSettings
from cmc_notify.store import Store, open_store
from cmc_notify.telemetry import Metrics, configure_logging
from cmc_notify.web import LiveController, LiveSink, WebServer, create_app

_log = structlog.get_logger(__name__)


class Bridge:
    """One bridge process. Also what the web pages ask about the present (``web.StatusSource``)."""

    def __init__(self, settings: Settings, plugins: Plugins, *, clock: Clock = time.time) -> None:
        self._settings = settings
        self._plugins = plugins
        self._clock = clock
        self._metrics = Metrics()
        self._store: Store | None = None
        self._web: WebServer | None = None
        self._engine: Engine | None = None
        self._first = settings
        self._started = False
        self.stopping = False
        self.port = 0

    async def start(self) -> None:
        """Open the store, listen, poll and deliver. Raises StoreError, ConfigError or CmcNotifyError."""
        try:
            self._store = await open_store(
                self._settings.store.url.get_secret_value(), clock=self._clock, exclusive=True
            )
            self._links = Links(
                await self._store.ledger.secret("event-links"), self._settings.http.external_url
            )
            self._engine = self._make_engine(self._settings)
            await self._listen()
            self._engine.start()
        except BaseException:
            await self.stop()
            raise
        self._started = True
        url = _page_address(self._settings.http, self.port)
        _log.info("bridge.started", url=url, port=self.port, controllers=list(self._settings.controllers))

    async def reload(self, settings: Settings) -> None:
        """Go on with other settings; where they can't be used, raise, and the old ones go on.

        The store and all of ``http`` are fixed until a restart.
        """
        assert self._engine is not None
        replacement = self._make_engine(settings)
        configure_logging(settings.log.format, settings.log.level, sys.stderr)
        if fixed := _fixed_changes(self._first, settings):
            _log.warning("bridge.reload_partial", keys=fixed, remedy="restart to apply these")
        await self._engine.stop()
        self._engine.forget_metrics(settings)
        self._settings, self._engine = settings, replacement
        self._engine.start()
        _log.info("bridge.reloaded")

    async def stop(self) -> None:
        """Stop in the order that loses nothing; may be called at any point of the start."""
        self.stopping = True
        # Side by side: deliveries may need the whole grace, and little time is left after it.
        parts = [part for part in (self._engine, self._web) if part]
        for failed in await asyncio.gather(*(part.stop() for part in parts), return_exceptions=True):
            if failed:
                _log.error("bridge.stop_failed", exc_info=failed)
        if self._store:
            await self._store.close()
        if self._started:
            _log.info("bridge.stopped")

    def controllers(self) -> Sequence[LiveController]:
        """Every configured controller as this process sees it."""
        if self._engine is None:
            return []
        return [
            LiveController(name=name, tried=poller.tried) for name, poller in self._engine.pollers.items()
        ]

    def sinks(self) -> Sequence[LiveSink]:
        """Every configured sink as this process sees it."""
        if self._engine is None:
            return []
        blocked = self._engine.dispatcher.blocked
        return [
            LiveSink(name=name, type=sink.type, blocked=blocked.get(name))
            for name, sink in self._settings.sinks.items()
        ]

    def _make_engine(self, settings: Settings) -> Engine:
        assert self._store is not None
        return Engine(
            settings,
            self._plugins,
            self._store,
            links=self._links,
            metrics=self._metrics,
            clock=self._clock,
        )

    async def _listen(self) -> None:
        assert self._store is not None
        http = self._settings.http
        app = create_app(
            ledger=self._store.ledger,
            status=self,
            metrics=self._metrics,
            links=self._links,
            token=http.token,
            listen_host=http.host,
            timezone=lambda: ZoneInfo(self._settings.timezone),
            clock=self._clock,
        )
        self._web = WebServer(app, http.host, http.port)
        self.port = await self._web.start()


def _page_address(http: HttpSettings, port: int) -> str:
    """Where people find the first page; where we listen on every address, this machine's own stands in."""
    if http.external_url:
        return http.external_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104  compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _fixed_changes(first: Settings, settings: Settings) -> list[str]:
    """The keys that differ from those of the start, among those that only a start applies."""
    compared = {
        "store.url": (first.store.url, settings.store.url),
        "http": (first.http, settings.http),
    }
    return [key for key, (before, now) in compared.items() if before != now]
