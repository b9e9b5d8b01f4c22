"""The controller's HTTP server: every resource of the vendor's page, sign-in, inventory.

Each request is logged, with the job versions of every response that was sent completely.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import web

from cmc_notify.simulator.auth import COOKIE, Refused, SignIn
from cmc_notify.simulator.catalog import Catalog
from cmc_notify.simulator.clock import VirtualClock
from cmc_notify.simulator.faults import Faults
from cmc_notify.simulator.jobs import Jobs, SimulatedJob
from cmc_notify.simulator.quirks import Quirks
from cmc_notify.simulator.responses import ApiError, connected, error_body, fail, send, send_slowly

COMMON = "/api/common/1.0"
CONFIGURATOR = "/api/cmc.configurator/{version:1\\.[01]}"
INVENTORY = "/api/cmc.appliance_inventory/1.0"
SERVICES = [
    {"id": "common", "versions": ["1.0"]},
    {"id": "cmc.configurator", "versions": ["1.0", "1.1"]},
    {"id": "cmc.appliance_inventory", "versions": ["1.0"]},
]

VersionKey = tuple[str, int]
"""A job's key and the number of its version."""


@dataclass(slots=True)
class Request:
    """One request and its result. ``complete``: the whole response was sent, with ``status``."""

    number: int
    method: str
    target: str
    time: float
    versions: tuple[VersionKey, ...] = ()
    status: int = 0
    fault: str | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class ServerResponse:
    """A successful response before it is sent."""

    body: bytes
    versions: tuple[VersionKey, ...] = ()
    cookie: tuple[str, str] | None = None


Handler = Callable[[web.Request], Awaitable[ServerResponse]]
Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Routes, sign-in check, faults and the request log in front of the controller's state."""

    def __init__(
        self,
        quirks: Quirks,
        *,
        clock: VirtualClock,
        jobs: Jobs,
        catalog: Catalog,
        sign_in: SignIn,
        faults: Faults,
    ) -> None:
        self.requests: list[Request] = []
        self.stopping = asyncio.Event()
        """Set to end hanging requests."""
        self._clock = clock
        self._jobs = jobs
        self._catalog = catalog
        self._sign_in = sign_in
        self._faults = faults
        self._quirks = quirks
        self._lists: dict[tuple[object, ...], ServerResponse] = {}
        self._lists_generation = -1

    async def _set_date(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Put the controller's own clock into each response, in HTTP's Date header."""
        response.headers["Date"] = formatdate(self._clock.now, usegmt=True)

    def application(self) -> web.Application:
        """Return an application with the routes of all three services."""
        app = web.Application(client_max_size=64 * 1024)
        app.on_response_prepare.append(self._set_date)
        for method, path, handler, guarded in (
            ("GET", f"{COMMON}/auth_info", self._auth_info, False),
            ("GET", f"{COMMON}/services", self._services, False),
            ("POST", f"{COMMON}/oauth/token", self._token, False),
            ("POST", f"{COMMON}/login", self._login, False),
            ("GET", f"{INVENTORY}/brief_appliances", self._appliances, True),
            ("GET", f"{CONFIGURATOR}/jobs", self._job_list, True),
            ("GET", f"{CONFIGURATOR}/jobs/items/{{id}}", self._job, True),
            ("POST", f"{CONFIGURATOR}/jobs/items/{{id}}/cancel", self._cancel, True),
            ("GET", f"{CONFIGURATOR}/features", self._features, True),
            ("GET", f"{CONFIGURATOR}/features/items/{{id}}", self._feature, True),
        ):
            app.router.add_route(method, path, self._wrap(handler, guarded=guarded))
        app.router.add_route("*", "/{tail:.*}", self._wrap(self._nothing, guarded=False))
        return app

    def _wrap(self, handler: Handler, *, guarded: bool) -> Route:
        async def handle(request: web.Request) -> web.StreamResponse:
            self._clock.catch_up()
            entry = Request(len(self.requests) + 1, request.method, request.path_qs, self._clock.now)
            self.requests.append(entry)
            try:
                return await self._respond(request, handler, entry, guarded=guarded)
            except ConnectionError:
                return web.Response()  # aiohttp also notices the lost connection, and drops it

        return handle

    async def _respond(
        self, request: web.Request, handler: Handler, entry: Request, *, guarded: bool
    ) -> web.StreamResponse:
        entry.fault = fault = self._faults.next_fault(request.path_qs)
        try:
            if fault not in (None, "cut", "slow"):
                return await fail(request, fault, b"", self.stopping)
            if guarded:
                self._sign_in.check(request)
            found = await handler(request)
        except (Refused, ApiError) as problem:
            entry.status = problem.status
            response = await send(request, problem.status, error_body(problem.error_id, str(problem)))
            entry.complete = connected(request)
            return response
        if fault == "cut":
            return await fail(request, fault, found.body, self.stopping)
        entry.versions = found.versions
        entry.status = HTTPStatus.OK
        if fault == "slow":
            response = await send_slowly(request, found.body, self._faults.slow_for, self.stopping)
        else:
            response = await send(request, HTTPStatus.OK, found.body, found.cookie)
        entry.complete = connected(request)
        return response

    # --- common -------------------------------------------------------------------------------------

    async def _auth_info(self, _: web.Request) -> ServerResponse:
        if self._quirks.auth_info_404:
            raise _not_found("auth_info")
        return _json(self._sign_in.auth_info())

    async def _services(self, _: web.Request) -> ServerResponse:
        if self._quirks.services_404:
            raise _not_found("services")
        return _json(SERVICES)

    async def _token(self, request: web.Request) -> ServerResponse:
        return _json(self._sign_in.token(await request.post()))

    async def _login(self, request: web.Request) -> ServerResponse:
        try:
            document = json.loads(await request.read())
        except ValueError:
            raise ApiError(400, "REQUEST_INVALID_INPUT", "The body is not JSON") from None
        session = self._sign_in.login(document)
        return ServerResponse(b"{}", cookie=(COOKIE, session))

    async def _nothing(self, request: web.Request) -> ServerResponse:
        raise _not_found(request.path)

    # --- inventory ----------------------------------------------------------------------------------

    async def _appliances(self, request: web.Request) -> ServerResponse:
        if self._quirks.inventory == "404":
            raise _not_found("brief_appliances")
        if self._quirks.inventory == "403":
            raise ApiError(403, "AUTH_INSUFFICIENT_PRIVILEGES", "This account can't read the inventory")
        documents = [appliance.document() for appliance in self._catalog.appliances]
        wanted = {name: request.query[name] for name in ("serial", "uuid", "health") if name in request.query}
        return _json([doc for doc in documents if all(doc[name] == wanted[name] for name in wanted)])

    # --- configurator -------------------------------------------------------------------------------

    async def _job_list(self, request: web.Request) -> ServerResponse:
        status = request.query.get("job_status")
        feature_id, after, before = (_number(request, name) for name in ("feature_id", "after", "before"))
        filters = (status, feature_id, after, before)
        if self._lists_generation != self._jobs.generation:
            self._lists.clear()
            self._lists_generation = self._jobs.generation
        if filters not in self._lists:
            found = self._jobs.select(status=status, feature_id=feature_id, after=after, before=before)
            body = b"[" + b",".join(job.body for job in found) + b"]"
            self._lists[filters] = ServerResponse(body, tuple(_version_key(job) for job in found))
        return self._lists[filters]

    async def _job(self, request: web.Request) -> ServerResponse:
        job = self._find(request)
        return ServerResponse(job.body, (_version_key(job),))

    async def _cancel(self, request: web.Request) -> ServerResponse:
        job = self._find(request)
        try:
            job.cancel()
        except ValueError:
            raise ApiError(
                409, "JOB_ALREADY_FINISHED", f"Job {job.id} can't be canceled: it is {job.status}"
            ) from None
        return ServerResponse(job.body, (_version_key(job),))

    async def _features(self, request: web.Request) -> ServerResponse:
        name = request.query.get("name")
        return _json([item for item in self._catalog.features if name is None or item["name"] == name])

    async def _feature(self, request: web.Request) -> ServerResponse:
        number = _id(request, "feature")
        for item in self._catalog.features:
            if item["id"] == number:
                return _json(item)
        raise _not_found(f"feature {number}")

    def _find(self, request: web.Request) -> SimulatedJob:
        number = _id(request, "job")
        job = self._jobs.get(number)
        if job is None:
            raise _not_found(f"job {number}")
        return job


def _json(document: object) -> ServerResponse:
    return ServerResponse(json.dumps(document).encode())


def _version_key(job: SimulatedJob) -> VersionKey:
    return job.key, len(job.versions)


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise ApiError(400, "REQUEST_INVALID_INPUT", f"{name}: {text!r} is not an integer") from None


def _id(request: web.Request, what: str) -> int:
    text = request.match_info["id"]
    if not text.isdecimal():
        raise _not_found(f"{what} {text}")
    return int(text)


def _not_found(what: str) -> ApiError:
    return ApiError(404, "RESOURCE_NOT_FOUND", f"There is no {what}")
