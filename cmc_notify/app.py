"""The composition root: the only place that names concrete adapters and plugs them together.

A :class:`Bridge` is one process: the store, the web server, and an :class:`Engine` (pollers, sinks,
dispatcher, scheduler) that a reload replaces by one with other settings.
"""

import asyncio
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import structlog

from cmc_notify.controller import Controller
from cmc_notify.core.announce import SinkRule
from cmc_notify.core.events import Event
from cmc_notify.core.links import Links
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.routing import Match, Route
from cmc_notify.dispatcher import Dispatcher, SinkPlan
from cmc_notify.errors import ConfigError, TemplateError
from cmc_notify.housekeeping import Housekeeper
from cmc_notify.poller import Poller
from cmc_notify.poller.poller import Telling
from cmc_notify.ports import Clock, Sink
from cmc_notify.rendering import Renderer
from cmc_notify.scheduler import Scheduler
from cmc_notify.settings import RouteSettings, Settings
from cmc_notify.settings.base import SinkSettings
from cmc_notify.sinks.plugin import SinkPlugin
from cmc_notify.store import Store, open_store
from cmc_notify.telemetry import Metrics, configure_logging
from cmc_notify.web import LiveController, LiveSink, WebServer, create_app

_log = structlog.get_logger(__name__)

FORGET_EVERY = 3600.0
MEASURE_EVERY = 15.0
PROBE_EVERY = 30.0
"""Seconds until a blocked sink is tried again, or the sink's own ``retry.max`` where that is less."""

Plugins = Mapping[str, SinkPlugin]


def make_renderer(settings: Settings, on_fallback: Callable[[TemplateError], None]) -> Renderer:
    """The renderer that the config asks for."""
    folders = [settings.templates_dir] if settings.templates_dir else []
    return Renderer(folders, timezone=settings.timezone, on_fallback=on_fallback)


def make_sink(name: str, settings: SinkSettings, plugins: Plugins, renderer: Renderer) -> Sink:
    """One configured sink."""
    return plugins[settings.type].build(name, settings, renderer)


def make_route(route: RouteSettings) -> Route:
    """A route of the config as the core knows it."""
    match = route.match
    return Route(
        match=Match(
            event=match.event,
            controller=match.controller,
            feature=match.feature,
            serial=match.serial,
            site_id=match.site_id,
        ),
        sinks=route.sinks,
        proceed=route.continue_,
    )


def _plan(settings: SinkSettings) -> SinkPlan:
    retry = settings.retry
    return SinkPlan(
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        retry=RetryPolicy(
            initial=retry.initial,
            max=retry.max,
            deadline=retry.deadline,
            probe=min(PROBE_EVERY, retry.max),
        ),
        fallback=settings.fallback,
    )


class Engine:
    """Everything that one version of the config runs."""

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        store: Store,
        *,
        links: Links,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._links = links
        self._metrics = metrics
        renderer = make_renderer(settings, self._count_fallback)
        self.sinks = {name: make_sink(name, sink, plugins, renderer) for name, sink in settings.sinks.items()}
        self.dispatcher = Dispatcher(
            store.outbox,
            self.sinks,
            {name: _plan(sink) for name, sink in settings.sinks.items()},
            owner=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
            clock=clock,
            metrics=metrics,
            sign_link=self._sign_link,
        )
        self.controllers = {name: Controller(name, found) for name, found in settings.controllers.items()}
        telling = Telling(
            routes=tuple(make_route(route) for route in settings.routes),
            sinks={
                name: SinkRule(deadline=sink.retry.deadline, send_resolved=sink.send_resolved)
                for name, sink in settings.sinks.items()
            },
            redact=settings.redact,
        )
        self.pollers = {
            name: Poller(
                name,
                controller,
                store.poll,
                settings.controllers[name],
                telling,
                clock=clock,
                metrics=metrics,
                committed=self.dispatcher.wake,
            )
            for name, controller in self.controllers.items()
        }
        self._scheduler = Scheduler()
        self._housekeeper = Housekeeper(
            store.housekeeping,
            store.ledger,
            retention=settings.store.retention,
            clock=clock,
            metrics=metrics,
        )

    def start(self) -> None:
        """Poll and deliver from now on."""
        for controller in self.controllers.values():
            for warning in controller.warnings:
                _log.warning("controller.weak", controller=controller.name, warning=warning)
        for name, poller in self.pollers.items():
            self._scheduler.poll(poller, self.settings.controllers[name].poll)
        self._scheduler.every(FORGET_EVERY, self._housekeeper.forget, "forget")
        self._scheduler.every(MEASURE_EVERY, self._housekeeper.measure, "measure")
        self.dispatcher.start()
        self._scheduler.start()

    async def stop(self) -> None:
        """Stop polling, finish what is in flight within the grace, leave the rest in the outbox."""
        self._scheduler.stop()
        await self.dispatcher.stop(self.settings.shutdown_grace)
        closing = [sink.close() for sink in self.sinks.values()]
        closing += [controller.close() for controller in self.controllers.values()]
        await asyncio.gather(*closing, return_exceptions=True)

    def _sign_link(self, event: Event) -> str | None:
        return self._links.event(event.id, datetime.fromisoformat(event.time).timestamp())

    def _count_fallback(self, error: TemplateError) -> None:
        _log.error("template.failed", template=error.template, line=error.line, error=error.message)
        sink_type = error.template.split("/", 1)[0]
        self._metrics.template_fallbacks_total.labels(sink_type, error.template).inc()


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
        _log.info("bridge.started", port=self.port, controllers=list(self._settings.controllers))

    async def reload(self, settings: Settings) -> None:
        """Go on with other settings. What the store and the address are is fixed until a restart."""
        assert self._engine is not None
        if settings.store != self._settings.store or settings.http != self._settings.http:
            _log.warning("bridge.reload_partial", keys=["store", "http"], remedy="restart to apply these")
        replacement = self._make_engine(settings)
        await self._engine.stop()
        self._settings, self._engine = settings, replacement
        self._engine.start()
        _log.info("bridge.reloaded")

    async def stop(self) -> None:
        """Stop in the order that loses nothing; may be called at any point of the start."""
        self.stopping = True
        if self._engine:
            await self._engine.stop()
        if self._web:
            await self._web.stop()
        if self._store:
            await self._store.close()
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
            timezone=ZoneInfo(self._settings.timezone),
            clock=self._clock,
        )
        self._web = WebServer(app, http.host, http.port)
        self.port = await self._web.start()


async def run(
    settings: Settings,
    plugins: Plugins,
    *,
    reread: Callable[[], Settings],
    started: Callable[[Bridge], None] = lambda _bridge: None,
) -> None:
    """The bridge until SIGTERM or SIGINT; SIGHUP reads the config again (``reread``)."""
    bridge = Bridge(settings, plugins)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    hung_up = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    await bridge.start()
    started(bridge)
    try:
        while not ended.is_set():
            waiting = [asyncio.create_task(event.wait()) for event in (ended, hung_up)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            if hung_up.is_set() and not ended.is_set():
                hung_up.clear()
                await _reload(bridge, reread)
    finally:
        await bridge.stop()


async def _reload(bridge: Bridge, reread: Callable[[], Settings]) -> None:
    try:
        settings = await asyncio.to_thread(reread)
        configure_logging(settings.log.format, settings.log.level, sys.stderr)
        await bridge.reload(settings)
    except ConfigError as error:
        _log.error("bridge.reload_refused", problems=list(error.problems))
