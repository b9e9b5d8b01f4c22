"""The dashboard: controllers, open jobs, open failures, sinks and recent deliveries."""

import time
from collections.abc import Callable

from aiohttp import web

from cmc_notify import __version__
from cmc_notify.core.events import counts
from cmc_notify.ports import Clock, DeliveryFilter, Ledger, Silences, TicketFilter
from cmc_notify.web.access import VISITOR
from cmc_notify.web.job_context import failure_contexts, job_contexts
from cmc_notify.web.overview import overview
from cmc_notify.web.page_templates import Templates
from cmc_notify.web.readiness import Readiness
from cmc_notify.web.sign_in import to_top
from cmc_notify.web.silence_documents import matchers_text, state_of
from cmc_notify.web.status import StatusSource

JOBS, FAILURES, DELIVERIES, TICKETS = 100, 200, 50, 100
"""The most that the page shows of each; it says if there are more."""


class Dashboard:
    """Serves ``/``."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        silences: Silences,
        status: StatusSource,
        readiness: Readiness,
        templates: Templates,
        can_sign_in: Callable[[], bool] = lambda: False,
        clock: Clock = time.time,
    ) -> None:
        self._ledger = ledger
        self._silences = silences
        self._status = status
        self._readiness = readiness
        self._clock = clock
        self._templates = templates
        self._can_sign_in = can_sign_in

    async def show(self, request: web.Request) -> web.Response:
        """Return the page with the present state."""
        ledger, now = self._ledger, self._clock()
        silences = await self._silences.list_silences(now=now)
        failures = await ledger.failures(limit=FAILURES)
        jobs = await ledger.jobs(open_only=True, limit=JOBS + 1)
        page = self._templates.render(
            "dashboard.html.j2",
            now=now,
            version=__version__,
            visitor=request.get(VISITOR),
            top=to_top(request),
            back="/",
            can_sign_in=self._can_sign_in(),
            reasons=await self._readiness.reasons(),
            overview=await overview(ledger, self._status),
            jobs=[(controller, state, counts(state.job)) for controller, state in jobs[:JOBS]],
            job_context=await job_contexts(ledger, jobs[:JOBS]),
            more_jobs=len(jobs) > JOBS,
            failures=failures,
            failure_context=await failure_contexts(ledger, silences, failures, now=now),
            silences=[(each, state_of(each, now), matchers_text(each)) for each in silences],
            tickets=await ledger.tickets(TicketFilter(open_only=True, limit=TICKETS)),
            deliveries=await ledger.deliveries(DeliveryFilter(limit=DELIVERIES)),
        )
        return web.Response(
            body=b"".join(page),
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": self._templates.policy},
        )
