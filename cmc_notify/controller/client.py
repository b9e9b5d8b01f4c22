"""Every resource of the vendor's page, as ``ports.JobSource``.

A list is taken whole or not at all: what is not a complete list raises ControllerUnreachable, and the poll
that asked for it commits nothing. A refused credential is renewed once and the request repeated once.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

from cmc_notify.controller.auth import COMMON, SIGN_IN_ERRORS, SignIn
from cmc_notify.controller.listing import ListedItem, NotAList, list_items, single_item, split
from cmc_notify.controller.transport import Answer, Transport
from cmc_notify.controller.wire import decode_appliance, decode_feature, parse
from cmc_notify.core.model import Appliance, Feature, Job
from cmc_notify.errors import ControllerError, ControllerUnreachable, JobNotFound, MalformedJob, Unauthorized
from cmc_notify.settings.controller import ControllerSettings

_SERVICE = "cmc.configurator"
_VERSIONS = ("1.1", "1.0")  # the one we like best comes first; their jobs and features are the same
_INVENTORY = "/api/cmc.appliance_inventory/1.0/brief_appliances"
_LARGE = 1_000_000  # bytes that would hold up the event loop noticeably

Thing = TypeVar("Thing", Feature, Appliance)


class Controller:
    """One controller. ``warnings`` are the weak points of its settings, to be logged at each start."""

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
        """Seconds that the controller's clock is ahead of ours, by its last answer; None if it never said."""
        return self._transport.clock_offset

    async def close(self) -> None:
        """Release connections; the controller can be used again afterwards."""
        self._sign_in.forget()
        await self._transport.close()

    async def sign_in(self) -> None:
        """Prove that address, credentials and the right to read jobs and features are there."""
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
        """The job list with the vendor's four filters; ``status`` is sent as given."""
        answer = await self._get(
            await self._resource("jobs"),
            {"job_status": status, "feature_id": feature_id, "after": after, "before": before},
        )
        self._usable(answer)
        try:
            if len(answer.body) < _LARGE:
                return list_items(answer.body)
            return await asyncio.to_thread(list_items, answer.body)
        except NotAList as error:
            raise ControllerUnreachable(f"{answer.place}: {error}") from None

    async def get_job(self, job_id: int) -> ListedItem:
        """One job by id; raises JobNotFound."""
        answer = await self._get(await self._resource(f"jobs/items/{job_id}"))
        if answer.status == 404:  # noqa: PLR2004  documented for an id that is not there
            raise JobNotFound(f"the controller has no job {job_id}")
        return _one_job(self._usable(answer))

    async def cancel_job(self, job_id: int) -> Job:
        """Ask the controller to cancel; returns the job as it answers.

        Raises JobNotFound, and ControllerError with the controller's words where it refuses.
        """
        answer = await self._request("POST", await self._resource(f"jobs/items/{job_id}/cancel"))
        if answer.status == 404:  # noqa: PLR2004  documented for an id that is not there
            raise JobNotFound(f"the controller has no job {job_id}")
        if not answer.ok:
            raise ControllerError(f"job {job_id} was not canceled: {self._transport.describe(answer)}")
        try:
            return _one_job(answer).decode()
        except MalformedJob as error:
            raise ControllerUnreachable(f"{answer.place}: the job in the answer: {error}") from error

    async def list_features(self, *, name: str | None = None) -> Sequence[Feature]:
        """The features that can be pushed; one without an id, or unreadable, is left out."""
        answer = self._usable(await self._get(await self._resource("features"), {"name": name}))
        return _named(answer, decode_feature)

    async def get_feature(self, feature_id: int) -> Feature | None:
        """One feature by id; None where the controller does not know it."""
        answer = await self._get(await self._resource(f"features/items/{feature_id}"))
        return None if answer.status == 404 else decode_feature(self._usable(answer).json())  # noqa: PLR2004  documented for an id that is not there

    async def list_appliances(self) -> Sequence[Appliance]:
        """The inventory; empty where this account can't read it, or it does not answer as it should.

        Never raises: names are a courtesy, and no poll fails for want of them.
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
        answer = await self._get(f"{COMMON}/services")
        try:
            services = answer.json() if answer.ok else []
        except ControllerUnreachable:
            services = []
        for service in services if isinstance(services, list) else []:
            if isinstance(service, dict) and service.get("id") == _SERVICE:
                offered = service.get("versions")
                for version in _VERSIONS:
                    if isinstance(offered, list) and version in offered:
                        return version
        return _VERSIONS[-1]  # also where the controller can't be asked: 1.0 is what its page documents

    async def _get(self, path: str, params: Mapping[str, str | int | None] | None = None) -> Answer:
        given = {key: str(value) for key, value in (params or {}).items() if value is not None}
        return await self._request("GET", path, given or None)

    async def _request(self, method: str, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """Signed in; where that is refused, signed in anew and repeated, once. Raises Unauthorized."""
        credential = await self._sign_in.credential()
        answer = await self._transport.send(method, path, params=params, headers=credential.headers)
        if not _refuses_sign_in(answer):
            return answer
        credential = await self._sign_in.credential(refused=credential)
        answer = await self._transport.send(method, path, params=params, headers=credential.headers)
        if not _refuses_sign_in(answer):
            return answer
        raise await self._sign_in.refusal(answer)

    def _usable(self, answer: Answer) -> Answer:
        if answer.ok:
            return answer
        self._version = None  # after an upgrade the controller may offer another
        words = self._transport.describe(answer)
        if answer.status == 403:  # noqa: PLR2004  signed in, but without the right
            raise Unauthorized(f"{words}; give this account the right to read it")
        raise ControllerUnreachable(words)


def _refuses_sign_in(answer: Answer) -> bool:
    return answer.status == 401 or (not answer.ok and answer.document().get("error_id") in SIGN_IN_ERRORS)  # noqa: PLR2004  what 401 says


def _one_job(answer: Answer) -> ListedItem:
    try:
        return single_item(answer.body)
    except NotAList as error:
        raise ControllerUnreachable(f"{answer.place}: {error}") from None


def _named(answer: Answer, decode: Callable[[Any], Thing | None]) -> list[Thing]:
    """What a list of names holds. An item that can't be read names nothing, and hides no other."""
    found: list[Thing] = []
    try:
        for raw in split(answer.body):
            with suppress(ValueError, RecursionError):
                if (thing := decode(parse(raw))) is not None:
                    found.append(thing)
    except NotAList as error:
        raise ControllerUnreachable(f"{answer.place}: {error}") from None
    return found


def _weak_points(name: str, settings: ControllerSettings) -> Iterator[str]:
    over_tls = settings.url.startswith("https:")
    if not over_tls and settings.auth.method != "none":
        yield f"controllers.{name}.url: credentials go over plain HTTP; anyone on the way can read them"
    if over_tls and not settings.tls.verify and not settings.tls.fingerprint:
        yield (
            f"controllers.{name}.tls.verify is off: whoever stands in the way can pose as the controller;"
            " set tls.fingerprint_sha256 or tls.ca_file instead"
        )
