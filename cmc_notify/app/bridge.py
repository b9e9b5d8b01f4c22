"""One bridge process: the web server, the store, and the engine that a reload replaces.

It listens before it opens the store, and continues on its own once a store that failed works again: people
and monitors see why it waits, and nobody has to start it again.
"""

import asyncio
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from zoneinfo import ZoneInfo

import structlog
from aiohttp.web import Application

from cmc_notify.app.engine import Engine
from cmc_notify.app.factories import Plugins
from cmc_notify.app.link_signing import LinkSigner
from cmc_notify.app.loop_monitor import monitor_loop
from cmc_notify.app.store_startup import OpenedStore, StoreOpener
from cmc_notify.core.access import AccessRules
from cmc_notify.errors import ConfigError, StoreError
from cmc_notify.ports import Clock
from cmc_notify.settings import Settings
from cmc_notify.settings.root import HttpSettings
from cmc_notify.telemetry import Metrics, configure_logging
from cmc_notify.web import LiveController, LiveSink, WebServer, create_app, create_startup_app

_log = structlog.get_logger(__name__)

COOKIE = "session-cookie"
"""The name in the store of what tells the cookies of two bridges on one host apart."""


class Bridge:
    """One bridge process. Also the source of the web pages' live status (``web.StatusSource``)."""

    def __init__(self, settings: Settings, plugins: Plugins, *, clock: Clock = time.time) -> None:
        self._settings = self._first = settings
        self._plugins = plugins
        self._clock = clock
        self._metrics = Metrics()
        self._http = settings.http
        self._access = settings.http.rules
        self._store_opener = StoreOpener(clock)
        self._opened: OpenedStore | None = None
        self._web: WebServer | None = None
        self._engine: Engine | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._tried: frozenset[str] = frozenset()
        self.stopping = False
        self.port = 0

    async def start(self) -> None:
        """Listen, open the store however long that takes, then poll and deliver.

        Raises StoreError, ConfigError or CmcNotifyError if waiting does not help.
        """
        self._tasks.append(asyncio.create_task(monitor_loop(self._metrics), name="loop monitor"))
        try:
            web = await self._listen()
            self._opened = opened = await self._store_opener.open(self._store_url)
            self._links = LinkSigner(opened.store.ledger, opened.link_secret, self._http.external_url)
            self._tasks.append(asyncio.create_task(self._links.keep_fresh(), name="links"))
            self._cookie = f"cmc-notify-{(await opened.store.ledger.secret(COOKIE)).hex()[:12]}"
            self._end_foreign_sessions()
            await web.replace_app(self._pages(opened))
            self._engine = self._first_engine()
            self._engine.start()
        except BaseException:
            await self.stop()
            raise
        _log.info("bridge.started", **self._location(), controllers=list(self._settings.controllers))

    async def reload(self, settings: Settings) -> None:
        """Use other settings. If they can't be used, raise, and keep the old ones.

        The store, once open, and ``http`` are fixed until a restart, except the store's user and password,
        and who may read and act.
        """
        replacement = self._make_engine(settings) if self._engine else None
        configure_logging(settings.log.format, settings.log.level, sys.stderr)
        self._access = self._access.succeeded_by(settings.http.rules, self._clock())
        self._end_foreign_sessions()
        if fixed := self._fixed_changes(settings):
            _log.warning("bridge.reload_partial", keys=fixed, remedy="restart to apply these")
        if self._engine is None or replacement is None:
            self._settings = settings  # nothing uses the old ones yet
            _log.info("bridge.reloaded")
            return
        self._tried = frozenset(live.name for live in self.controllers() if live.tried)
        await self._engine.stop(replaced=True)
        self._engine.forget_metrics(settings)
        self._settings, self._engine = settings, replacement
        self._engine.start()
        _log.info("bridge.reloaded")

    async def stop(self) -> None:
        """Stop in an order that loses nothing; may be called at any point of the start."""
        self.stopping = True
        # At the same time: deliveries may need the whole grace, and little time is left after it.
        parts = [part for part in (self._engine, self._web) if part]
        for failed in await asyncio.gather(*(part.stop() for part in parts), return_exceptions=True):
            if failed:
                _log.error("bridge.stop_failed", exc_info=failed)
        if self._opened:
            await self._opened.store.close()
        for task in self._tasks:
            task.cancel()
        if self._engine or self._store_opener.trouble:
            _log.info("bridge.stopped")

    def controllers(self) -> Sequence[LiveController]:
        """Return every configured controller as this process sees it."""
        if self._engine is None:
            return [LiveController(name=name, tried=False) for name in self._settings.controllers]
        return [
            LiveController(
                name=name,
                tried=poller.tried or name in self._tried,
                polling=self._engine.polls(name),
                leader=self._engine.election.leader(name) if self._engine.election else None,
            )
            for name, poller in self._engine.pollers.items()
        ]

    def sinks(self) -> Sequence[LiveSink]:
        """Return every configured sink as this process sees it."""
        if self._engine is None:
            return []
        dispatcher = self._engine.dispatcher
        blocked, circuit_open = dispatcher.blocked, dispatcher.circuit_open
        throttled = dispatcher.throttled
        return [
            LiveSink(
                name=name,
                type=sink.type,
                blocked=blocked.get(name),
                circuit_open=circuit_open.get(name),
                throttled=throttled.get(name),
            )
            for name, sink in self._settings.sinks.items()
        ]

    def _first_engine(self) -> Engine:
        """Return an engine for the newest settings, or else for those of the start.

        A reload during the wait for the store may have brought settings that can't be used. The open store
        stays.
        """
        try:
            return self._make_engine(self._settings)
        except Exception as error:
            if self._settings is self._first:
                raise
            log_refused(error)
        self._settings = self._first
        configure_logging(self._first.log.format, self._first.log.level, sys.stderr)
        return self._make_engine(self._first)

    def _make_engine(self, settings: Settings) -> Engine:
        assert self._opened is not None
        return Engine(
            settings,
            self._plugins,
            self._opened.store,
            links=self._links,
            metrics=self._metrics,
            clock=self._clock,
            predecessor=self._engine,
        )

    def _store_url(self) -> str:
        return self._settings.store.url.get_secret_value()

    def _access_now(self) -> AccessRules:
        return self._access

    def _end_foreign_sessions(self) -> None:
        """End the sessions of tokens that the config has no more for other replicas; here they have ended.

        In the background: a store that hangs must not hold up a reload.
        """
        if self._opened is not None:
            ending = self._end_sessions_but(self._opened, self._access.names)
            self._tasks.append(asyncio.create_task(ending, name="foreign sessions"))

    async def _end_sessions_but(self, opened: OpenedStore, names: Collection[str]) -> None:
        try:
            ended = await opened.store.sessions.end_all_but(names)
        except StoreError as error:
            _log.error("sessions.not_ended", error=str(error))
            return
        if ended:
            _log.info("sessions.ended", count=ended, reason="their tokens are no longer in the config")

    async def _listen(self) -> WebServer:
        waiting = create_startup_app(reason=lambda: self._store_opener.trouble, rules=self._access_now)
        self._web = WebServer(waiting, self._http.host, self._http.port)
        self.port = await self._web.start()
        _log.debug("bridge.listening", **self._location())
        return self._web

    def _pages(self, opened: OpenedStore) -> Application:
        return create_app(
            ledger=opened.store.ledger,
            silences=opened.store.silences,
            status=self,
            metrics=self._metrics,
            rules=self._access_now,
            links=self._links.links,
            sessions=opened.store.sessions,
            cookie=self._cookie,
            actions=opened.store.chat_actions,
            chat=lambda: self._engine.chat if self._engine else None,
            timezone=lambda: ZoneInfo(self._settings.timezone),
            clock=self._clock,
        )

    def _location(self) -> Mapping[str, object]:
        """Return the address of the pages, for the log."""
        return {"url": _page_address(self._http, self.port), "port": self.port}

    def _fixed_changes(self, settings: Settings) -> list[str]:
        """Return the keys that differ from those in use and that only a start applies."""
        http, url = settings.http, settings.store.url.get_secret_value()
        changed = {
            "store.url": self._opened is not None and not self._opened.store.use_credentials(url),
            "http": (http.listen, http.external_url) != (self._http.listen, self._http.external_url)
            or (self._access.guarded and not http.rules.guarded),
        }
        return [key for key, differs in changed.items() if differs]


def log_refused(error: Exception) -> None:
    """Log why a config that was read during a run is not used."""
    if isinstance(error, ConfigError):
        _log.error("bridge.reload_refused", problems=list(error.problems))
    else:
        problem = f"{type(error).__name__}: {error}"
        _log.error("bridge.reload_refused", problems=[problem], exc_info=error)


def _page_address(http: HttpSettings, port: int) -> str:
    """Return the address of the first page; if we listen on all addresses, with this machine's own."""
    if http.external_url:
        return http.external_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104  compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
