"""Every resource of the vendor's page, as ``ports.JobSource``.

A list is taken whole or not at all: an incomplete list raises ControllerUnreachable, and its poll commits
nothing. A refused credential is renewed once and the request repeated once.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

from cmc_notify.controller.auth import COMMON, SIGN_IN_ERRORS, SignIn
from cmc_notify.controller.listing import ListedItem, NotAList, list_items, single_item, split
from cmc_notify.controller.transport import ControllerResponse, Transport
from cmc_notify.controller.wire import decode_appliance, decode_feature, parse
from cmc_notify.core.model import Appliance, Feature, Job
from cmc_notify.errors import ControllerError, ControllerUnreachable, JobNotFound, MalformedJob, Unauthorized
from cmc_notify.settings.controller import ControllerSettings

_SERVICE = "cmc.configurator"
_VERSIONS = ("1.1", "1.0")  # the preferred one first; their jobs and features are the same
_INVENTORY = "/api/cmc.appliance_inventory/1.0/brief_appliances"
_LARGE = 1_000_000  # bytes that would delay the event loop noticeably

Thing = TypeVar("Thing", Feature, Appliance)


class Controller:
    """One controller. ``warnings`` holds the weak points of its settings, to be logged at each start."""

    def __init__(
        self, name: str, settings: ControllerSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.warnings = tuple(_weak_points(name, settings))
        self._transport = Transport(name, settings)
        self._sign_in = SignIn(name, settings.auth, self._transport, clock=clock)
        self._version: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def clock_offset(self) -> float | None:
        """The seconds that the controller's clock is ahead of ours, by its last response, or None."""
        return self._transport.clock_offset

    async def close(self) -> None:
        """Release connections; the controller can be used again afterwards."""
        self._sign_in.forget()
        await self._transport.close()

    async def sign_in(self) -> None:
        """Prove that the address and the credentials are right, and may read jobs and features."""
        self._version = None
        await self._sign_in.credential()
        await self.list_features()
        await self.list_jobs(status="Queued")

    async def list_jobs(
        self,
        *,
        status: str | None = None,
        feature_id: int | None = None,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[ListedItem]:
        """Return the job list with the vendor's four filters; ``status`` is sent as given."""
        response = await self._get(
            await self._resource("jobs"),
            {"job_status": status, "feature_id": feature_id, "after": after, "before": before},
        )
        self._usable(response)
        try:
            if len(response.body) < _LARGE:
                return list_items(response.body)
            return await asyncio.to_thread(list_items, response.body)
        except NotAList as error:
            raise ControllerUnreachable(f"{response.endpoint}: {error}") from None

    async def get_job(self, job_id: int) -> ListedItem:
        """Return one job by id. Raises JobNotFound."""
        response = await self._get(await self._resource(f"jobs/items/{job_id}"))
        if response.status == 404:  # noqa: PLR2004  documented for an id that is not there
            raise JobNotFound(f"the controller has no job {job_id}")
        return _one_job(self._usable(response))

    async def cancel_job(self, job_id: int) -> Job:
        """Cancel a job at the controller; returns the job from the response.

        Raises JobNotFound, and ControllerError with the controller's words if it refuses.
        """
        response = await self._request("POST", await self._resource(f"jobs/items/{job_id}/cancel"))
        if response.status == 404:  # noqa: PLR2004  documented for an id that is not there
            raise JobNotFound(f"the controller has no job {job_id}")
        if not response.ok:
            raise ControllerError(f"job {job_id} was not canceled: {self._transport.describe(response)}")
        try:
            return _one_job(response).decode()
        except MalformedJob as error:
            raise ControllerUnreachable(f"{response.endpoint}: the job in the response: {error}") from error

    async def list_features(self, *, name: str | None = None) -> Sequence[Feature]:
        """Return the features that can be pushed; one without an id, or unreadable, is left out."""
        response = self._usable(await self._get(await self._resource("features"), {"name": name}))
        return _named(response, decode_feature)

    async def get_feature(self, feature_id: int) -> Feature | None:
        """Return one feature by id; None if the controller does not know it."""
        response = await self._get(await self._resource(f"features/items/{feature_id}"))
        return None if response.status == 404 else decode_feature(self._usable(response).json())  # noqa: PLR2004  documented for an id that is not there

    async def list_appliances(self) -> Sequence[Appliance]:
        """Return the inventory; empty if this account can't read it, or the response is unusable.

        Never raises: names are optional, and no poll fails without them.
        """
        try:
            return _named(self._usable(await self._get(_INVENTORY)), decode_appliance)
        except ControllerError:
            return ()

    async def _resource(self, path: str) -> str:
        if self._version is None:
            self._version = await self._discover()
        return f"/api/{_SERVICE}/{self._version}/{path}"

    async def _discover(self) -> str:
        response = await self._get(f"{COMMON}/services")
        try:
            services = response.json() if response.ok else []
        except ControllerUnreachable:
            services = []
        for service in services if isinstance(services, list) else []:
            if isinstance(service, dict) and service.get("id") == _SERVICE:
                offered = service.get("versions")
                for version in _VERSIONS:
                    if isinstance(offered, list) and version in offered:
                        return version
        return _VERSIONS[-1]  # also if the request fails: 1.0 is the version that the vendor's page documents

    async def _get(
        self, path: str, params: Mapping[str, str | int | None] | None = None
    ) -> ControllerResponse:
        given = {key: str(value) for key, value in (params or {}).items() if value is not None}
        return await self._request("GET", path, given or None)

    async def _request(
        self, method: str, path: str, params: Mapping[str, str] | None = None
    ) -> ControllerResponse:
        """Send a request, signed in; if refused, sign in again and repeat once. Raises Unauthorized."""
        credential = await self._sign_in.credential()
        response = await self._transport.send(method, path, params=params, headers=credential.headers)
        if not _refuses_sign_in(response):
            return response
        credential = await self._sign_in.credential(refused=credential)
        response = await self._transport.send(method, path, params=params, headers=credential.headers)
        if not _refuses_sign_in(response):
            return response
        raise await self._sign_in.refusal(response)

    def _usable(self, response: ControllerResponse) -> ControllerResponse:
        if response.ok:
            return response
        self._version = None  # after an upgrade the controller may offer another version
        words = self._transport.describe(response)
        if response.status == 403:  # noqa: PLR2004  signed in, but without the right
            raise Unauthorized(f"{words}; give this account the right to read it")
        raise ControllerUnreachable(words)


def _refuses_sign_in(response: ControllerResponse) -> bool:
    if response.status == 401:  # noqa: PLR2004  the meaning of 401 is known
        return True
    return not response.ok and response.document().get("error_id") in SIGN_IN_ERRORS


def _one_job(response: ControllerResponse) -> ListedItem:
    try:
        return single_item(response.body)
    except NotAList as error:
        raise ControllerUnreachable(f"{response.endpoint}: {error}") from None


def _named(response: ControllerResponse, decode: Callable[[Any], Thing | None]) -> list[Thing]:
    """Return the items of a list of names. An item that can't be read is left out; the others stay."""
    found: list[Thing] = []
    try:
        for raw in split(response.body):
            with suppress(ValueError, RecursionError):
                if (thing := decode(parse(raw))) is not None:
                    found.append(thing)
    except NotAList as error:
        raise ControllerUnreachable(f"{response.endpoint}: {error}") from None
    return found


def _weak_points(name: str, settings: ControllerSettings) -> Iterator[str]:
    over_tls = settings.url.startswith("https:")
    if not over_tls and settings.auth.method != "none":
        yield f"controllers.{name}.url: credentials go over plain HTTP; anyone on the path can read them"
    if over_tls and not settings.tls.verify and not settings.tls.fingerprint:
        yield (
            f"controllers.{name}.tls.verify is off: anyone on the path can pose as the controller;"
            " set tls.fingerprint_sha256 or tls.ca_file instead"
        )
