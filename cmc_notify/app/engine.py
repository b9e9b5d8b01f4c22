"""All parts that run one version of the config; a reload replaces them together."""

import asyncio
import os
import secrets
import socket
from contextlib import suppress

import structlog

from cmc_notify.app.factories import (
    Plugins,
    make_renderer,
    make_route,
    make_sink,
    make_sink_policy,
    make_sink_profile,
)
from cmc_notify.app.link_signing import LinkSigner
from cmc_notify.chatops import ChatOps, CommandContext
from cmc_notify.controller import Controller
from cmc_notify.dispatcher import Dispatcher, SinkEventRules
from cmc_notify.errors import TemplateError
from cmc_notify.heartbeat import Heartbeat
from cmc_notify.housekeeping import Housekeeper
from cmc_notify.leadership import LeaderElection
from cmc_notify.poller import NotifyRules, Poller
from cmc_notify.ports import Clock
from cmc_notify.scheduler import Scheduler
from cmc_notify.settings import Settings
from cmc_notify.settings.config_warnings import config_warnings
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

HOUSEKEEPING_EVERY = 3600.0
HOUSEKEEPING_FIRST = 60.0
"""Seconds: it runs after the first polls, so as not to slow them down."""
UNSERVED_EVERY = 600.0
"""Seconds between two runs; the first is at the start, because a reload can remove sinks."""
CLOSE_TIMEOUT = 1.0
"""Seconds that sinks and controllers get to close; containers are killed soon after the grace."""


class Engine:
    """Pollers, sinks, dispatcher and scheduler of one config. Once stopped, it can't start again."""

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        store: Store,
        *,
        links: LinkSigner,
        metrics: Metrics,
        clock: Clock,
        predecessor: "Engine | None" = None,
    ) -> None:
        """``predecessor`` is the engine that this one replaces: its leads stay."""
        self.settings = settings
        self._clock = clock
        self._metrics = metrics
        renderer = make_renderer(settings, self._count_fallback, plugins=plugins)
        self.sinks = {name: make_sink(name, sink, plugins, renderer) for name, sink in settings.sinks.items()}
        notify_rules = NotifyRules(
            routes=tuple(make_route(route) for route in settings.routes),
            sinks={name: make_sink_profile(sink) for name, sink in settings.sinks.items()},
            redact=settings.redact,
        )
        owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.dispatcher = Dispatcher(
            store.outbox,
            self.sinks,
            {name: make_sink_policy(sink) for name, sink in settings.sinks.items()},
            owner=owner,
            clock=clock,
            metrics=metrics,
            sign_link=links.signing(settings),
            sink_events=SinkEventRules(
                store=store.sink_events, routes=notify_rules.routes, sinks=notify_rules.sinks
            ),
        )
        self.controllers = {name: Controller(name, found) for name, found in settings.controllers.items()}
        self.chat = ChatOps(
            settings.sinks,
            self.controllers,
            CommandContext(tuple(settings.controllers), self._sink_troubles, settings.http.external_url),
            actions=store.chat_actions,
            ledger=store.ledger,
            silences=store.silences,
            on_message_due=self.dispatcher.wake,
            metrics=metrics,
            clock=clock,
        )
        self._heartbeat = (
            Heartbeat(settings.heartbeat_url, settings.controllers, store.ledger, metrics=metrics)
            if settings.heartbeat_url
            else None
        )
        self.pollers = {
            name: Poller(
                name,
                controller,
                store.poll,
                settings.controllers[name],
                notify_rules,
                clock=clock,
                metrics=metrics,
                on_committed=self.dispatcher.wake,
                on_polled=self._heartbeat.on_polled if self._heartbeat else lambda: None,
            )
            for name, controller in self.controllers.items()
        }
        self.election: LeaderElection | None = predecessor.election if predecessor else None
        if store.shared and self.election is None:
            self.election = LeaderElection(store.leadership, owner=owner, metrics=metrics)
        self._scheduler = Scheduler(self.election.step_down if self.election else lambda _controller: None)
        self._housekeeper = Housekeeper(
            store.housekeeping, retention=settings.store.retention, sinks=settings.sinks, clock=clock
        )

    def start(self) -> None:
        """Start polling and delivering."""
        for line in self._cautions():
            _log.warning("config.caution", caution=line)
        for name, poller in self.pollers.items():
            self._scheduler.poll(poller, self.settings.controllers[name].poll)
            if self.election is None:  # no other replica uses the store, so this one leads every controller
                self._metrics.leads.labels(name).set(1)
                self._scheduler.start_polling(name, None)
        if self.election:
            self.election.serve(self.pollers, self._scheduler, sinks=self.sinks)
        self._scheduler.every(
            HOUSEKEEPING_EVERY, self._housekeeper.delete_old, "housekeeping", first=HOUSEKEEPING_FIRST
        )
        self._scheduler.every(UNSERVED_EVERY, self._housekeeper.end_unserved, "unserved")
        self.dispatcher.start()
        self.chat.start()
        if self._heartbeat:
            self._heartbeat.start()
        self._scheduler.start()

    def polls(self, controller: str) -> bool:
        """Return True if this process polls the controller."""
        return self.election is None or self.election.is_leader(controller)

    async def stop(self, *, replaced: bool = False) -> None:
        """Stop polling, finish deliveries in flight within the grace, leave the rest in the outbox.

        What is led is given up at once, unless another engine is about to replace this one.
        """
        await self._scheduler.stop()
        # At the same time: a store that hangs must not use up the time of the deliveries, nor the rest.
        grace = self.settings.shutdown_grace
        ends = [self.dispatcher.stop(grace), self.chat.stop(grace)]
        if self.election and not replaced:
            ends.append(self.election.stop())
        if self._heartbeat:
            ends.append(self._heartbeat.stop())
        await asyncio.gather(*ends)
        await self.close()

    async def close(self) -> None:
        """Release connections. This is enough for an engine that was never started."""
        closing = [sink.close() for sink in self.sinks.values()]
        closing += [controller.close() for controller in self.controllers.values()]
        closing.append(self.chat.close())
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.gather(*closing, return_exceptions=True)

    def forget_metrics(self, successor: Settings) -> None:
        """Remove metrics that the next config leaves out: they must not keep their last value, and alert."""
        metrics = self._metrics
        of_controllers = (
            metrics.controller_up,
            metrics.jobs_open,
            metrics.leads,
            metrics.poll_lag_seconds,
            metrics.last_poll_timestamp_seconds,
            metrics.malformed_jobs,
        )
        for name in self.settings.controllers.keys() - successor.controllers.keys():
            for gauge in of_controllers:
                gauge.remove(name)
        for name in self.settings.sinks.keys() - successor.sinks.keys():
            for gauge in (
                metrics.sink_blocked,
                metrics.sink_circuit_open,
                metrics.sink_throttled,
                metrics.chat_sockets,
            ):
                gauge.remove(name)

    def _sink_troubles(self) -> dict[str, str]:
        """Return, by sink, the reason why it accepts no or fewer messages now."""
        return self.dispatcher.throttled | self.dispatcher.circuit_open | self.dispatcher.blocked

    def _cautions(self) -> list[str]:
        """Return one line for each weak key; a controller's own line is better than the general one."""
        lines = [warning for controller in self.controllers.values() for warning in controller.warnings]
        lines += config_warnings(self.settings)
        by_key: dict[str, str] = {}
        for line in lines:
            by_key.setdefault(line.split(" ")[0].rstrip(":"), line)
        return list(by_key.values())

    def _count_fallback(self, error: TemplateError) -> None:
        _log.error("template.failed", template=error.template, line=error.line, error=error.message)
        sink_type = error.template.split("/", 1)[0]
        self._metrics.template_fallbacks_total.labels(sink_type, error.template).inc()
