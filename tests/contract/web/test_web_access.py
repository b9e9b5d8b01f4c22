"""Who may read over HTTP: this machine, holders of the token, and of a link its one page."""

import asyncio
from base64 import b64encode
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from cmc_notify.core.access import is_loopback
from cmc_notify.core.links import VALID_FOR, Links
from cmc_notify.settings import HttpSettings
from cmc_notify.web.access import Access
from cmc_notify.web.responses import add_headers, translate_errors
from cmc_notify.web.visitors import EVENT_ROUTE, Visitors

TOKEN = "correct horse: batterÿ staple"
ASCII = "s3cret-and-long-enough"
NOW = 1_795_430_000.0
LINKS = Links(b"k" * 32, "https://bridge.example.net")


async def _ok(_request: web.Request) -> web.Response:
    return web.Response(text="seen")


def guarded(listen_host: str = "127.0.0.1", token: str | None = None, now: float = NOW) -> web.Application:
    """An application behind the guard, with a page of each kind."""
    http = HttpSettings(listen=f"{listen_host}:0", token=SecretStr(token) if token else None)

    async def links() -> Links:
        return LINKS

    access = Access(Visitors(lambda: http.rules, links=links, clock=lambda: now))
    app = web.Application(middlewares=[translate_errors, access.guard])
    app.on_response_prepare.append(add_headers)
    app.add_routes([web.get(path, _ok) for path in ("/", "/healthz", "/readyz", "/api/v1/jobs")])
    app.add_routes([web.get("/events/{event_id}", _ok, name=EVENT_ROUTE)])
    app.add_routes([web.get("/api/v1/events/{event_id}", _ok)])
    return app


async def status(app: web.Application, path: str = "/", **headers: str) -> int:
    """The status that one request gets."""
    async with TestClient(TestServer(app)) as client:
        answer = await client.get(path, headers={name.replace("_", "-"): v for name, v in headers.items()})
        return answer.status


def basic(password: str, user: str = "anyone") -> str:
    """The header that a browser sends after its prompt."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


async def test_this_machine_reads_without_a_token() -> None:
    """On loopback, asked by a loopback name, reads are open."""
    assert await status(guarded()) == 200
    assert await status(guarded(), Host="localhost:8080") == 200
    assert await status(guarded(), Host="[::1]:8080") == 200


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via", "X-Real-IP"],
)
async def test_a_request_through_a_proxy_is_never_local(header: str) -> None:
    """A trace of a proxy closes the reads, whatever it claims; the token opens them again."""
    assert await status(guarded(), **{header: "127.0.0.1"}) == 403
    assert await status(guarded(token=TOKEN), **{header: "127.0.0.1"}) == 401
    assert await status(guarded(token=TOKEN), **{header: "127.0.0.1"}, Authorization=basic(TOKEN)) == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "bridge.example.net:80", ""])
async def test_a_foreign_host_name_is_not_local(host: str) -> None:
    """A web page whose name was rebound to this machine reads nothing."""
    assert await status(guarded(), Host=host) == 403


async def test_http_1_0_is_not_local() -> None:
    """A proxy that adds no header is known by the old version that it speaks."""
    async with TestServer(guarded()) as server:
        assert server.port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert line.split()[1] == b"403"


@pytest.mark.parametrize("path", ["/", "/api/v1/jobs", "/events/e1", "/nothing", "/healthz/"])
async def test_an_open_address_needs_the_token_for_every_read(path: str) -> None:
    """With an address that others can reach, not even this machine reads without the token."""
    app = guarded("0.0.0.0", TOKEN)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get(path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer "), "a browser would ask for Basic"
        assert "seen" not in await answer.text()


async def test_probes_never_need_a_token() -> None:
    """An orchestrator asks by address, without credentials."""
    for path in ("/healthz", "/readyz"):
        assert await status(guarded("0.0.0.0", TOKEN), path, Host="10.0.0.7:8080") == 200
        assert await status(guarded(), path, Host="10.0.0.7:8080", Via="1.1 proxy") == 200


async def test_the_token_opens_as_bearer_and_as_password() -> None:
    """Programs send it as Bearer, browsers as the password of any user."""
    app_args = ("0.0.0.0", TOKEN)
    ascii_args = ("0.0.0.0", ASCII)
    assert await status(guarded(*app_args), Authorization=basic(TOKEN)) == 200
    assert await status(guarded(*app_args), Authorization=basic(TOKEN, user="")) == 200
    assert await status(guarded(*ascii_args), Authorization=f"Bearer {ASCII}") == 200
    assert await status(guarded(*ascii_args), Authorization=f"bearer  {ASCII}") == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        "Basic",
        "Basic !!!",
        basic(""),
        basic("wrong"),
        ASCII,
        "Token s3cret",
    ],
)
async def test_anything_else_is_refused(authorization: str) -> None:
    """A wrong, empty or broken credential gets 401, never an error."""
    assert await status(guarded("0.0.0.0", ASCII), Authorization=authorization) == 401


async def test_a_token_in_the_address_opens_nothing() -> None:
    """Addresses end up in histories and logs, so a token there counts for nothing."""
    assert await status(guarded("0.0.0.0", ASCII), f"/?token={ASCII}") == 401


async def test_a_signed_link_opens_its_page_and_only_that() -> None:
    """Whoever was woken can read the event of the message, and no other page."""
    split = urlsplit(LINKS.event("e1", NOW) or "")
    assert await status(guarded("0.0.0.0", TOKEN), f"{split.path}?{split.query}") == 200
    assert await status(guarded(), f"{split.path}?{split.query}", Host="x", Via="1.1 proxy") == 200
    for path in ("/events/e2", "/", "/api/v1/jobs", "/api/v1/events/e1"):
        assert await status(guarded("0.0.0.0", TOKEN), f"{path}?{split.query}") == 401
    assert await status(guarded("0.0.0.0", TOKEN), f"{split.path}?{split.query}&expires=9999999999") == 401


async def test_an_expired_link_says_so() -> None:
    """After its time a link opens nothing, and the answer tells the reader why."""
    split = urlsplit(LINKS.event("e1", NOW) or "")
    app = guarded("0.0.0.0", TOKEN, now=NOW + VALID_FOR)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get(f"{split.path}?{split.query}")
        assert answer.status == 401
        assert "expired" in await answer.text()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed(method: str) -> None:
    """Every other method is answered with 405."""
    async with TestClient(TestServer(guarded())) as client:
        answer = await client.request(method, "/")
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("[::1]", True), ("localhost", True),
        ("LOCALHOST.", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False),
        ("::ffff:192.0.2.1", False), ("10.0.0.1", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False), ("", False), (None, False),
    ],
)  # fmt: skip
def test_what_is_loopback(host: str | None, expected: bool) -> None:
    """Only this machine's own addresses and the name localhost are loopback."""
    assert is_loopback(host) is expected


async def test_refusals_carry_no_secret_and_the_common_headers() -> None:
    """Also an error can't be framed, cached or sniffed, and never holds the token."""
    async with TestClient(TestServer(guarded("0.0.0.0", TOKEN))) as client:
        answer = await client.get("/api/v1/jobs", headers={"Authorization": "Bearer wrong"})
        assert answer.status == 401
        assert set(await answer.json()) == {"error"}
        assert TOKEN not in await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "aiohttp" not in answer.headers["Server"]
