"""The page that messages link to: one complete event, with the complete text of every failure."""

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import quote

from aiohttp import hdrs, web

from cmc_notify.core.access import Way
from cmc_notify.core.events import Event, as_shown
from cmc_notify.core.events import EventType as T
from cmc_notify.core.grouping import group_failures
from cmc_notify.ports import DeliveryFilter, Ledger, LedgerRow, TicketFilter
from cmc_notify.web.access import VISITOR
from cmc_notify.web.job_context import JobContext
from cmc_notify.web.page_templates import Templates
from cmc_notify.web.sign_in import to_top

_HEADLINES = {
    T.JOB_QUEUED: "{job} is queued",
    T.JOB_STARTED: "{job} has started",
    T.JOB_PROGRESS: "{job} is in progress",
    T.JOB_SUCCEEDED: "{job} succeeded",
    T.JOB_CANCELED: "{job} was canceled",
    T.JOB_FAILED: "{job} failed",
    T.JOB_REOPENED: "{job} runs again",
    T.JOB_OVERDUE: "{job} takes too long",
    T.JOB_VANISHED: "{job} is gone from the controller",
    T.APPLIANCE_FAILED: "Failures on appliances in {job}",
    T.APPLIANCE_RECOVERED: "Appliances recovered with {job}",
    T.CONTROLLER_UNREACHABLE: "The controller can't be reached",
    T.CONTROLLER_RECOVERED: "The controller responds again",
    T.CONTROLLER_UNAUTHORIZED: "The controller refuses the credentials",
    T.SINK_FAILING: "Deliveries to {sink} fail",
    T.SINK_RECOVERED: "Deliveries to {sink} work again",
}


def headline(event: Event) -> str:
    """Return one line for people that says what happened."""
    job = event.job
    words = "The job" if job is None else f"{(job.operation or 'job').capitalize()} job {job.id}"
    return _HEADLINES[event.type].format(job=words, sink=event.sink or "a sink")


TICKETS = 100
"""The most tickets that the page shows."""


def _subjects(rows: Sequence[LedgerRow]) -> set[str]:
    """Return the subjects of the event's deliveries, its job among them."""
    return {row.delivery.subject for row in rows}


class EventPage:
    """Serves ``/events/{event_id}``."""

    def __init__(
        self, ledger: Ledger, templates: Templates, can_sign_in: Callable[[], bool] = lambda: False
    ) -> None:
        self._ledger = ledger
        self._templates = templates
        self._can_sign_in = can_sign_in

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Write the page piece by piece, so that 10,000 failures delay nothing else.

        A link shows what its message's route showed, and no people.
        """
        visitor = request.get(VISITOR)
        by_link = visitor is not None and visitor.way is Way.LINK
        event = await self._ledger.event(request.match_info["event_id"])
        if event is not None and visitor is not None and visitor.delivery is not None:
            event = await self._as_shown(event, visitor.delivery)
        if event is None:
            raise web.HTTPNotFound(text="There is no such event. It may be older than store.retention.")
        rows = await self._ledger.deliveries(DeliveryFilter(event_id=event.id))
        context = JobContext(
            tickets=tuple(
                row.ticket
                for row in await self._ledger.tickets(TicketFilter(event_id=event.id, limit=TICKETS))
            ),
            acknowledged=None
            if by_link
            else next(iter((await self._ledger.acknowledgements(_subjects(rows))).values()), None),
        )
        response = web.StreamResponse(headers={"Content-Security-Policy": self._templates.policy})
        response.content_type = "text/html"
        response.charset = "utf-8"
        response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        if request.method == hdrs.METH_HEAD:
            return response  # not compressed: the end of an empty compressed body would still be sent
        response.enable_compression()
        await response.prepare(request)
        page = self._templates.render(
            "event.html.j2",
            event=event,
            headline=headline(event),
            groups=group_failures(event.failures),
            job_context=context,
            by_link=by_link,
            visitor=visitor,
            top=to_top(request),
            back=f"/events/{quote(event.id, safe='')}",
            can_sign_in=self._can_sign_in(),
            silenced=next(
                (row.delivery.last_error for row in rows if row.delivery.state == "silenced"), None
            ),
        )
        for chunk in page:
            await response.write(chunk)
            await asyncio.sleep(0)  # a fast client never makes write() wait, and polls must go on
        await response.write_eof()
        return response

    async def _as_shown(self, event: Event, delivery_id: str) -> Event | None:
        """Return the event with the failures that this delivery's message had; None if it is forgotten."""
        row = await self._ledger.delivery(delivery_id)
        if row is None or row.delivery.event_id != event.id:
            return None
        return as_shown(event, row.delivery.shown)
