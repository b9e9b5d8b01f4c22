"""Every resource of the vendor's page over real HTTP, and what becomes of a controller's refusals."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cmc_notify.controller import Controller
from cmc_notify.core.model import Appliance, Feature, Status
from cmc_notify.errors import (
    ControllerError,
    ControllerUnreachable,
    JobNotFound,
    MalformedJob,
    Unauthorized,
)
from cmc_notify.ports import JobSource
from cmc_notify.settings.controller import ControllerSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONFIGURATOR = "/api/cmc.configurator/1.0"
SERVICES = "/api/common/1.0/services"
INVENTORY = "/api/cmc.appliance_inventory/1.0/brief_appliances"


class Cmc:
    """A controller with just the answers that a test gives it; every request is written down."""

    def __init__(self) -> None:
        self.answers: dict[str, Handler] = {}
        self.requests: list[str] = []
        self.url = ""

    def on(self, path: str, data: Any = None, *, status: int = 200, body: bytes | None = None) -> None:
        """Answer ``METHOD path`` (GET may be left out) with this JSON, or with these very bytes."""

        async def answer(_: web.Request) -> web.Response:
            if body is not None:
                return web.Response(status=status, body=body, content_type="application/json")
            return web.json_response(data, status=status)

        self.answers[path if " " in path else f"GET {path}"] = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Find the answer; 404 where the test gave none."""
        self.requests.append(f"{request.method} {request.path_qs}")
        answer = self.answers.get(f"{request.method} {request.path}")
        return await answer(request) if answer else web.Response(status=404, text="no such thing")


@pytest.fixture
async def cmc() -> AsyncIterator[Cmc]:
    """A running controller."""
    fake = Cmc()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@pytest.fixture
async def controller(cmc: Cmc) -> AsyncIterator[Controller]:
    """A client of that controller, without sign-in."""
    async with Controller("emea", ControllerSettings(url=cmc.url)) as client:
        yield client


async def test_it_is_a_job_source(controller: Controller) -> None:
    """The client is what the services ask for."""
    source: JobSource = controller
    await source.close()


async def test_all_four_filters_are_sent_as_given(cmc: Cmc, controller: Controller) -> None:
    """job_status, feature_id, after and before reach the controller; what is not given is not sent."""
    cmc.on(f"{CONFIGURATOR}/jobs", [])
    await controller.list_jobs()
    await controller.list_jobs(status="IN_PROGRESS", feature_id=3, after=0, before=20)
    assert cmc.requests[1:] == [
        f"GET {CONFIGURATOR}/jobs",
        f"GET {CONFIGURATOR}/jobs?job_status=IN_PROGRESS&feature_id=3&after=0&before=20",
    ]


async def test_the_jobs_of_a_list_decode_on_demand(cmc: Cmc, controller: Controller) -> None:
    """A malformed job raises when it is decoded, and the others are there; a repeated id comes twice."""
    jobs = [{"id": 1, "job_status": "FAILED"}, {"id": 2, "detailed_status": [3]}, {"id": 1}]
    cmc.on(f"{CONFIGURATOR}/jobs", {"jobs": jobs})
    first, second, third = await controller.list_jobs()
    assert first.decode().status == Status.FAILED
    assert third.decode().id == 1
    with pytest.raises(MalformedJob) as caught:
        second.decode()
    assert caught.value.job_id == 2


async def test_a_large_list_is_whole(cmc: Cmc, controller: Controller) -> None:
    """A list of several megabytes, which is split beside the event loop, arrives complete and in order."""
    cmc.on(f"{CONFIGURATOR}/jobs", [{"id": number, "error_text": "x" * 1000} for number in range(3000)])
    items = await controller.list_jobs()
    assert [item.decode().id for item in items] == list(range(3000))
    assert len({item.digest for item in items}) == 3000


@pytest.mark.parametrize(
    "body", [b"", b"null", b"<html>Sign in</html>", b'{"jobs": null}', b'[{"id": 1}', b'{"error_id": "X"}']
)
async def test_what_is_no_whole_list_is_no_answer(cmc: Cmc, controller: Controller, body: bytes) -> None:
    """An answer that is not a complete list is an outage, never an empty list."""
    cmc.on(f"{CONFIGURATOR}/jobs", body=body)
    with pytest.raises(ControllerUnreachable, match=rf"GET {cmc.url}{CONFIGURATOR}/jobs: the response is"):
        await controller.list_jobs(after=5)


async def test_a_job_by_id(cmc: Cmc, controller: Controller) -> None:
    """One job is looked up by its id; 404 says that it is not there; a web page says nothing."""
    cmc.on(f"{CONFIGURATOR}/jobs/items/42", {"id": 42, "job_status": "Queued"})
    cmc.on(f"{CONFIGURATOR}/jobs/items/43", body=b"<html></html>")
    assert (await controller.get_job(42)).decode().status == Status.QUEUED
    with pytest.raises(JobNotFound, match="no job 44"):
        await controller.get_job(44)
    with pytest.raises(ControllerUnreachable, match="not a JSON object"):
        await controller.get_job(43)


async def test_cancel_posts_nothing_and_returns_the_job(cmc: Cmc, controller: Controller) -> None:
    """Cancel has no request body, and answers the job as it is now."""
    bodies: list[bytes] = []

    async def cancel(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.json_response({"id": 42, "job_status": "Cancelled"})

    cmc.answers[f"POST {CONFIGURATOR}/jobs/items/42/cancel"] = cancel
    assert (await controller.cancel_job(42)).status == Status.CANCELED
    assert bodies == [b""]


@pytest.mark.parametrize("status", [400, 403, 409])
async def test_a_refused_cancel_gives_the_controllers_words(
    cmc: Cmc, controller: Controller, status: int
) -> None:
    """Where the controller refuses to cancel, its error_id and text reach the person who requests."""
    words = {"error_id": "JOB_FINISHED", "error_text": "Job 42 is\nnot running"}
    cmc.on(f"POST {CONFIGURATOR}/jobs/items/42/cancel", words, status=status)
    with pytest.raises(ControllerError, match=rf"{status} \(JOB_FINISHED Job 42 is not running\)") as caught:
        await controller.cancel_job(42)
    assert type(caught.value) is ControllerError


async def test_cancel_of_no_job_and_an_unreadable_answer(cmc: Cmc, controller: Controller) -> None:
    """Cancel tells a job that is not there from an answer that can't be read."""
    cmc.on(f"POST {CONFIGURATOR}/jobs/items/42/cancel", {"job_status": "Canceled"})
    with pytest.raises(JobNotFound):
        await controller.cancel_job(41)
    with pytest.raises(ControllerUnreachable, match="neither id nor idx"):
        await controller.cancel_job(42)


async def test_features_and_their_filter(cmc: Cmc, controller: Controller) -> None:
    """Features are listed, by name too, and looked up by id; an unknown id gives None."""
    qos = {"id": 3, "name": "qos", "pretty_name": "QoS", "push_enable": True}
    cmc.on(f"{CONFIGURATOR}/features", {"items": [qos, {"name": "no id"}, None]})
    cmc.on(f"{CONFIGURATOR}/features/items/3", qos)
    expected = Feature(3, "qos", "QoS", push_enable=True)
    assert await controller.list_features(name="q&s") == [expected]
    assert cmc.requests[-1] == f"GET {CONFIGURATOR}/features?name=q%26s"
    assert await controller.get_feature(3) == expected
    assert await controller.get_feature(4) is None


async def test_garbage_for_features_is_an_outage(cmc: Cmc, controller: Controller) -> None:
    """Features that can't be read at all raise the bridge's own error; one bad name costs only itself."""
    cmc.on(f"{CONFIGURATOR}/features", body=b'[{"id": 1, "name": }, {"id": 2, "name": "qos"}]')
    assert await controller.list_features() == [Feature(2, "qos", "qos")]
    cmc.on(f"{CONFIGURATOR}/features", body=b'[{"id": 1, "name": ')
    cmc.on(f"{CONFIGURATOR}/features/items/3", body=b"<html>")
    with pytest.raises(ControllerUnreachable, match="not JSON"):
        await controller.list_features()
    with pytest.raises(ControllerUnreachable, match="a web page"):
        await controller.get_feature(3)


async def test_the_inventory_names_appliances(cmc: Cmc, controller: Controller) -> None:
    """Where the inventory answers, it gives names by serial number."""
    cmc.on(INVENTORY, [{"serial": "V2AB0001", "hostname": "paris-edge-1"}, {"hostname": "nobody"}])
    assert await controller.list_appliances() == [Appliance("V2AB0001", "paris-edge-1")]


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 500])
async def test_an_inventory_that_does_not_answer_breaks_nothing(
    cmc: Cmc, controller: Controller, status: int
) -> None:
    """Without the service, the right, or an answer of sense, the inventory is empty."""
    cmc.on(INVENTORY, status=status, body=b"<html>nothing here</html>")
    assert not await controller.list_appliances()


@pytest.mark.parametrize(
    ("services", "version"),
    [
        ([{"id": "cmc.configurator", "versions": ["1.0", "1.1"]}], "1.1"),
        ([{"id": "other", "versions": ["1.1"]}, {"id": "cmc.configurator", "versions": ["1.0"]}], "1.0"),
        ([{"id": "cmc.configurator", "versions": ["2.0"]}], "1.0"),
        ([None, {"id": "cmc.configurator"}], "1.0"),
        ("nonsense", "1.0"),
    ],
)
async def test_the_version_is_the_one_that_is_offered(
    cmc: Cmc, controller: Controller, services: object, version: str
) -> None:
    """The best version that the controller offers is used and requests for once; else 1.0."""
    cmc.on(SERVICES, services)
    cmc.on(f"/api/cmc.configurator/{version}/jobs", [])
    await controller.list_jobs()
    await controller.list_jobs()
    assert cmc.requests == [f"GET {SERVICES}"] + [f"GET /api/cmc.configurator/{version}/jobs"] * 2


async def test_an_upgrade_changes_the_version(cmc: Cmc, controller: Controller) -> None:
    """When the version in use is gone, the request fails once and the next one finds the new version."""
    cmc.on(f"{CONFIGURATOR}/jobs", [])
    await controller.list_jobs()
    del cmc.answers[f"GET {CONFIGURATOR}/jobs"]
    cmc.on(SERVICES, [{"id": "cmc.configurator", "versions": ["1.1"]}])
    cmc.on("/api/cmc.configurator/1.1/jobs", [])
    with pytest.raises(ControllerUnreachable, match="status 404"):
        await controller.list_jobs()
    assert await controller.list_jobs() == []


async def test_sign_in_proves_the_right_to_read_jobs(cmc: Cmc, controller: Controller) -> None:
    """The online check fails where features can be read and jobs can't, and names what is refused."""
    cmc.on(f"{CONFIGURATOR}/features", [])
    cmc.on(f"{CONFIGURATOR}/jobs", {"error_id": "NO_PERMISSION"}, status=403)
    with pytest.raises(
        Unauthorized, match=r"/jobs: status 403 \(NO_PERMISSION\); give this account the right"
    ):
        await controller.sign_in()
    cmc.on(f"{CONFIGURATOR}/jobs", [])
    await controller.sign_in()


async def test_a_closed_client_opens_again(cmc: Cmc, controller: Controller) -> None:
    """close() releases the connections; a later request opens new ones."""
    cmc.on(f"{CONFIGURATOR}/jobs", [])
    await controller.close()
    await controller.close()
    assert await controller.list_jobs() == []
