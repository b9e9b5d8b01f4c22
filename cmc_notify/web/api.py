"""The read-only JSON API under ``/api/v1/``. A request with an unknown parameter is refused."""

import time

import msgspec
from aiohttp import web

from cmc_notify import __version__
from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import rfc3339
from cmc_notify.ports import ActionLog, Clock, DeliveryFilter, Ledger, Silences, TicketFilter
from cmc_notify.web.documents import (
    action_document,
    controller_document,
    delivery_document,
    failure_document,
    job_document,
    sink_document,
    ticket_row_document,
)
from cmc_notify.web.job_context import failure_contexts, job_contexts
from cmc_notify.web.overview import overview
from cmc_notify.web.readiness import Readiness
from cmc_notify.web.silence_documents import silence_document
from cmc_notify.web.status import StatusSource

MAX_LIMIT = 1000
"""The largest ``limit``."""


class Api:
    """``/api/v1/{status,jobs,failures,deliveries,actions,events}``; lists hold the newest first."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        actions: ActionLog,
        silences: Silences,
        status: StatusSource,
        readiness: Readiness,
        clock: Clock = time.time,
    ) -> None:
        self._ledger = ledger
        self._actions = actions
        self._silences = silences
        self._status = status
        self._readiness = readiness
        self._clock = clock

    async def status(self, request: web.Request) -> web.Response:
        """Return controllers, sinks, open tickets, active silences, and if the bridge is ready."""
        Query(request)
        reasons = await self._readiness.reasons()
        now = self._clock()
        seen = await overview(self._ledger, self._status)
        tickets = await self._ledger.tickets(TicketFilter(open_only=True, limit=MAX_LIMIT))
        return _json(
            {
                "version": __version__,
                "time": rfc3339(now),
                "ready": not reasons,
                "reasons": reasons,
                "controllers": [controller_document(view) for view in seen.controllers],
                "sinks": [sink_document(view) for view in seen.sinks],
                "tickets": [ticket_row_document(row) for row in tickets],
                "silences": [silence_document(each, now) for each in await self._silences.active(now=now)],
            }
        )

    async def jobs(self, request: web.Request) -> web.Response:
        """Return jobs: ``?controller&open&limit`` (50)."""
        query = Query(request, "controller", "open", "limit")
        found = await self._ledger.jobs(
            controller=query.text("controller"), open_only=query.flag("open"), limit=query.limit(50)
        )
        contexts = await job_contexts(self._ledger, found)
        return _json(
            {
                "jobs": [
                    job_document(controller, state, contexts[controller, state.uid])
                    for controller, state in found
                ]
            }
        )

    async def failures(self, request: web.Request) -> web.Response:
        """Return open failures, the oldest first: ``?controller&limit`` (1000); ``open`` counts all."""
        query = Query(request, "controller", "limit")
        controller = query.text("controller")
        found = await self._ledger.failures(controller=controller, limit=query.limit(MAX_LIMIT))
        every = await self._ledger.count_failures()
        total = sum(every.values()) if controller is None else every.get(controller, 0)
        now = self._clock()
        silences = await self._silences.active(now=now)
        contexts = await failure_contexts(self._ledger, silences, found, now=now)
        return _json(
            {"open": total, "failures": [failure_document(each, contexts[each.id]) for each in found]}
        )

    async def deliveries(self, request: web.Request) -> web.Response:
        """Return deliveries: ``?state&sink&controller&job&event&limit`` (50)."""
        query = Query(request, "state", "sink", "controller", "job", "event", "limit")
        state = query.text("state")
        if state is not None and state not in set(DeliveryState):
            raise _bad_request(f"state={state!r} is not a state; write one of {', '.join(DeliveryState)}")
        found = await self._ledger.deliveries(
            DeliveryFilter(
                state=DeliveryState(state) if state else None,
                sink=query.text("sink"),
                controller=query.text("controller"),
                job_id=query.number("job"),
                event_id=query.text("event"),
                limit=query.limit(50),
            )
        )
        return _json({"deliveries": [delivery_document(row) for row in found]})

    async def actions(self, request: web.Request) -> web.Response:
        """Return actions from chat, refused ones too: ``?limit`` (50)."""
        found = await self._actions.actions(limit=Query(request, "limit").limit(50))
        return _json({"actions": [action_document(action) for action in found]})

    async def events(self, request: web.Request) -> web.Response:
        """Return complete event documents: ``?controller&job&limit`` (20)."""
        query = Query(request, "controller", "job", "limit")
        found = await self._ledger.events(
            controller=query.text("controller"), job_id=query.number("job"), limit=query.limit(20)
        )
        return _json({"events": found})

    async def event(self, request: web.Request) -> web.Response:
        """Return one complete event document."""
        Query(request)
        found = await self._ledger.event(request.match_info["event_id"])
        if found is None:
            raise web.HTTPNotFound(text="there is no such event; it may be older than store.retention")
        return _json(found)


class Query:
    """The parameters of one request. An unknown, repeated or invalid one raises HTTP 400."""

    def __init__(self, request: web.Request, *names: str) -> None:
        for name in request.query:
            if name not in names:
                known = f"write one of {', '.join(names)}" if names else "this path has no parameters"
                raise _bad_request(f"unknown parameter {name!r}; {known}")
            if len(request.query.getall(name)) > 1:
                raise _bad_request(f"{name} is given more than once; give it once")
        self._values = {name: value for name, value in request.query.items() if value}

    def text(self, name: str) -> str | None:
        """Return the value; None if it is absent or empty."""
        return self._values.get(name)

    def flag(self, name: str) -> bool:
        """Return the value of ``true`` or ``false``; absent is false."""
        value = self._values.get(name, "false").lower()
        if value not in ("true", "false", "1", "0"):
            raise _bad_request(f"{name}={value!r}: write true or false")
        return value in ("true", "1")

    def number(self, name: str) -> int | None:
        """Return a whole number that a database can hold; None if absent."""
        value = self._values.get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal() and len(value) <= 18):  # noqa: PLR2004  fits 64 bits
            raise _bad_request(f"{name}={value!r} is not a whole number; write digits only")
        return int(value)

    def limit(self, default: int) -> int:
        """Return the number of items to list: 1 to 1000."""
        value = self.number("limit")
        if value is None:
            return default
        if not 1 <= value <= MAX_LIMIT:
            raise _bad_request(f"limit={value}: write 1 to {MAX_LIMIT}")
        return value


def _bad_request(reason: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=reason)


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
