"""What is served before the store opened, and how the pages take its place on the same port."""

import asyncio

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from cmc_notify.settings import HttpSettings
from cmc_notify.web import WebServer, create_startup_app

REASON = "store /data/store.db: disk full"


def waiting(
    reason: str | None = REASON, host: str = "127.0.0.1", token: str | None = None
) -> web.Application:
    """The application while the store does not open."""
    return create_startup_app(
        reason=lambda: reason,
        rules=lambda: HttpSettings(listen=f"{host}:0", token=SecretStr(token) if token else None).rules,
    )


def says(text: str) -> web.Application:
    """An application with one page."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.router.add_get("/", page)
    return app


async def test_only_health_answers() -> None:
    """The process lives, is not ready and says why; each other page is 503 in the form of its place."""
    async with TestClient(TestServer(waiting())) as client:
        assert (await client.get("/healthz")).status == 200
        ready = await client.get("/readyz")
        assert (ready.status, await ready.text()) == (503, f"not ready\nthe store can't be used: {REASON}\n")
        for path in ("/", "/metrics", "/events/e1", "/nothing"):
            answer = await client.get(path)
            assert answer.status == 503
            assert answer.headers["Retry-After"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.content_type == "text/plain"
            assert "disk full" not in await answer.text()
        answer = await client.post("/api/v1/status")
        assert answer.status == 503
        assert "waits for its store" in (await answer.json())["error"]


async def test_the_first_try_is_no_failure() -> None:
    """Before a store has refused anything, nothing is said against it."""
    async with TestClient(TestServer(waiting(None))) as client:
        ready = await client.get("/readyz")
        assert (ready.status, await ready.text()) == (503, "not ready\nthe store is being opened\n")


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({}, False),
        ({"Authorization": "Bearer t0ken-that-is-long-enough"}, True),
        ({"Authorization": "Bearer other"}, False),
    ],
)
async def test_strangers_learn_no_reason(headers: dict[str, str], *, shown: bool) -> None:
    """The reason names places: it is for those who may read."""
    async with TestClient(TestServer(waiting(host="0.0.0.0", token="t0ken-that-is-long-enough"))) as client:
        ready = await client.get("/readyz", headers=headers)
        assert ready.status == 503
        assert ("disk full" in await ready.text()) is shown


async def test_another_application_takes_over_the_port() -> None:
    """No connection is refused while they change, a connection that stays open gets the new one."""
    server = WebServer(says("first"), "127.0.0.1", 0)
    address = f"http://127.0.0.1:{await server.start()}/"
    seen: list[str] = []
    changed = asyncio.Event()

    async def ask() -> None:
        async with ClientSession() as session:
            while "second" not in seen:
                async with session.get(address) as answer:
                    seen.append(await answer.text())
                if len(seen) >= 20:
                    changed.set()

    async with asyncio.timeout(10):
        asking = asyncio.create_task(ask())
        await changed.wait()
        await server.replace_app(says("second"))
        await asking
    assert set(seen) == {"first", "second"}
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(address.rsplit(":", 1)[1].strip("/")))


async def test_an_answer_in_flight_is_finished_before_the_change() -> None:
    """Who was being answered gets the whole answer."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.Response(text="whole")

    app = web.Application()
    app.router.add_get("/", slow)
    server = WebServer(app, "127.0.0.1", 0)
    port = await server.start()
    async with ClientSession() as session, asyncio.timeout(10):
        asking = asyncio.create_task(session.get(f"http://127.0.0.1:{port}/"))
        await asked.wait()
        changing = asyncio.create_task(server.replace_app(says("second")))
        await asyncio.sleep(0)
        go.set()
        assert await (await asking).text() == "whole"
        await changing
    await server.stop()
