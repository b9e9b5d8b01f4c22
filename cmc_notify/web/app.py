"""The routes of the web server. All only read, but sign-in, silences, and those that Slack posts to."""

import time
from collections.abc import Callable
from datetime import UTC, tzinfo

from aiohttp import web

from cmc_notify.chatops import ChatOps
from cmc_notify.core.access import AccessRules
from cmc_notify.ports import AuditTrail, Clock, Ledger, Sessions, Silences
from cmc_notify.telemetry import Metrics
from cmc_notify.web.access import SIGNED_ROUTE, Access
from cmc_notify.web.api import Api
from cmc_notify.web.audit import WebAudit
from cmc_notify.web.dashboard import Dashboard
from cmc_notify.web.event_page import EventPage
from cmc_notify.web.health import Health
from cmc_notify.web.page_templates import Templates
from cmc_notify.web.readiness import Readiness
from cmc_notify.web.responses import add_headers, translate_errors
from cmc_notify.web.sign_in import SignIn
from cmc_notify.web.silences import SilencesApi
from cmc_notify.web.slack import SlackEndpoint
from cmc_notify.web.status import StatusSource
from cmc_notify.web.visitors import EVENT_ROUTE, LinksNow, Rules, Visitors


def create_app(
    *,
    ledger: Ledger,
    silences: Silences,
    status: StatusSource,
    metrics: Metrics,
    actions: AuditTrail,
    sessions: Sessions,
    rules: Rules = AccessRules,
    links: LinksNow | None = None,
    cookie: str = "cmc-notify",
    chat: Callable[[], ChatOps | None] = lambda: None,
    timezone: Callable[[], tzinfo] = lambda: UTC,
    clock: Clock = time.time,
) -> web.Application:
    """Return the application. ``timezone`` and ``rules`` are called each time: a reload can change them.

    ``links`` returns what verifies links at this moment; without it no link opens a page. ``cookie`` is the
    name of the session's cookie.
    """
    visitors = Visitors(rules, links=links, sessions=sessions, cookie=cookie, clock=clock)
    templates = Templates(timezone)
    sign_in = SignIn(visitors, sessions, templates, clock)
    audit = WebAudit(actions, visitors, clock)
    access = Access(visitors, sign_in_page=sign_in.show_instead, on_refused=audit.record_refused)
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
        templates=templates,
        can_sign_in=lambda: bool(visitors.rules.tokens),
        clock=clock,
    )
    silences_api = SilencesApi(silences, lambda: [each.name for each in status.controllers()], clock)
    event_page = EventPage(ledger, templates, can_sign_in=lambda: bool(visitors.rules.tokens))
    app = web.Application(middlewares=[translate_errors, access.guard])
    app.on_response_prepare.append(add_headers)
    app.add_routes(
        [
            web.get("/", dashboard.show),
            web.get("/events/{event_id}", event_page.show, name=EVENT_ROUTE),
            web.get("/login", sign_in.show),
            web.post("/login", sign_in.sign_in),
            web.post("/logout", sign_in.sign_out),
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
            web.post("/api/v1/silences", audit.audited("silence", silences_api.add)),
            web.delete("/api/v1/silences/{silence_id}", audit.audited("end silence", silences_api.end)),
            web.post(
                "/slack/{sink}/{kind:interactions|commands}", SlackEndpoint(chat).handle, name=SIGNED_ROUTE
            ),
        ]
    )
    return app
