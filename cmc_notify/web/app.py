"""The routes of the web server. All are read-only, except those of silences and those that Slack posts to."""

import time
from collections.abc import Callable
from datetime import UTC, tzinfo

from aiohttp import web
from pydantic import SecretStr

from cmc_notify.chatops import ChatOps
from cmc_notify.core.links import Links
from cmc_notify.ports import ActionLog, Clock, Ledger, Silences
from cmc_notify.telemetry import Metrics
from cmc_notify.web.access import EVENT_ROUTE, SIGNED_ROUTE, Access
from cmc_notify.web.api import Api
from cmc_notify.web.dashboard import Dashboard
from cmc_notify.web.event_page import EventPage
from cmc_notify.web.health import Health
from cmc_notify.web.readiness import Readiness
from cmc_notify.web.responses import add_headers, translate_errors
from cmc_notify.web.silences import SilencesApi
from cmc_notify.web.slack import SlackEndpoint
from cmc_notify.web.status import StatusSource


def create_app(
    *,
    ledger: Ledger,
    silences: Silences,
    status: StatusSource,
    metrics: Metrics,
    links: Links,
    token: Callable[[], SecretStr | None],
    listen_host: str,
    actions: ActionLog,
    chat: Callable[[], ChatOps | None] = lambda: None,
    timezone: Callable[[], tzinfo] = lambda: UTC,
    clock: Clock = time.time,
) -> web.Application:
    """Return the application. ``timezone`` and ``token`` are called each time: a reload can change them.

    Raises ConfigError if ``listen_host`` is not loopback and there is no ``token``.
    """
    access = Access(token, listen_host, links, clock)
    readiness = Readiness(ledger, status)
    health = Health(
        ledger=ledger, status=status, readiness=readiness, metrics=metrics, access=access, clock=clock
    )
    api = Api(
        ledger=ledger,
        actions=actions,
        silences=silences,
        status=status,
        readiness=readiness,
        clock=clock,
    )
    dashboard = Dashboard(
        ledger=ledger,
        silences=silences,
        status=status,
        readiness=readiness,
        timezone=timezone,
        clock=clock,
    )
    silences_api = SilencesApi(silences, lambda: [each.name for each in status.controllers()], clock)
    app = web.Application(middlewares=[translate_errors, access.guard])
    app.on_response_prepare.append(add_headers)
    app.add_routes(
        [
            web.get("/", dashboard.show),
            web.get("/events/{event_id}", EventPage(ledger, timezone).show, name=EVENT_ROUTE),
            web.get("/healthz", health.show_alive),
            web.get("/readyz", health.show_ready),
            web.get("/metrics", health.show_metrics),
            web.get("/api/v1/status", api.status),
            web.get("/api/v1/jobs", api.jobs),
            web.get("/api/v1/failures", api.failures),
            web.get("/api/v1/deliveries", api.deliveries),
            web.get("/api/v1/actions", api.actions),
            web.get("/api/v1/events", api.events),
            web.get("/api/v1/events/{event_id}", api.event),
            web.get("/api/v1/silences", silences_api.show),
            web.post("/api/v1/silences", silences_api.add),
            web.delete("/api/v1/silences/{silence_id}", silences_api.end),
            web.post(
                "/slack/{sink}/{kind:interactions|commands}", SlackEndpoint(chat).handle, name=SIGNED_ROUTE
            ),
        ]
    )
    return app
