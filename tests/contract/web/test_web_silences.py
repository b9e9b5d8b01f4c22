"""Silences over HTTP, on a real store: added, listed and ended by whoever has the token, by nobody else."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from cmc_notify.settings import HttpSettings
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics
from cmc_notify.web import LiveController, LiveSink, create_app
from support.new_store import new_store

NOW = 1_795_430_000.0
TOKEN = "s3cret-and-long-enough"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATH = "/api/v1/silences"
GOOD = {"serial": "V2AB*", "duration": "4h", "created_by": "Zoë", "comment": "being replaced"}

Client = TestClient[web.Request, web.Application]


class TwoControllers:
    """A process with two configured controllers."""

    stopping = False

    def controllers(self) -> list[LiveController]:
        """Both polled before."""
        return [LiveController(name=name, tried=True) for name in ("emea", "apac")]

    def sinks(self) -> list[LiveSink]:
        """None."""
        return []


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A new store."""
    opened = await new_store(tmp_path / "store.db", clock=lambda: NOW)
    yield opened
    await opened.close()


def pages(store: Store, token: str | None) -> web.Application:
    """The bridge's pages on loopback."""
    return create_app(
        ledger=store.ledger,
        silences=store.silences,
        actions=store.chat_actions,
        status=TwoControllers(),
        metrics=Metrics(),
        sessions=store.sessions,
        rules=lambda: HttpSettings(token=SecretStr(token) if token else None).rules,
        clock=lambda: NOW,
    )


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Client]:
    """Somebody on this machine, by a loopback name."""
    async with TestClient(TestServer(pages(store, TOKEN))) as found:
        yield found


async def test_a_silence_is_added_listed_and_ended(client: Client, store: Store) -> None:
    """With the token; what was added is what the store has, and what the list shows."""
    asked = {
        **GOOD, "controller": ["em*"], "job": [42, "43"], "feature": ["QoS"],
        "starts": "2026-11-23T12:00:00Z",
    }  # fmt: skip
    added = await client.post(PATH, json=asked, headers=BEARER)
    assert added.status == 201
    document = await added.json()
    assert added.headers["Location"] == f"{PATH}/{document['id']}"
    assert document == {
        "id": document["id"], "state": "pending", "controller": ["em*"], "job": [42, 43],
        "serial": ["V2AB*"], "feature": ["QoS"], "subject": None, "until_job": False,
        "starts": "2026-11-23T12:00:00Z", "ends": "2026-11-23T16:00:00Z", "ends_in": 19600,
        "created": "2026-11-23T10:33:20Z", "created_by": "Zoë", "comment": "being replaced",
    }  # fmt: skip
    assert await (await client.get(PATH, headers=BEARER)).json() == {"silences": [document]}
    [kept] = await store.silences.list_silences(now=NOW)
    assert (kept.id, kept.jobs, kept.ends_at - kept.starts_at) == (document["id"], (42, 43), 4 * 3600)
    ended = await client.delete(f"{PATH}/{document['id']}", headers=BEARER)
    assert await ended.json() == {"id": document["id"], "ended": "2026-11-23T10:33:20Z"}
    assert await (await client.get(PATH, headers=BEARER)).json() == {"silences": []}
    shown = await (await client.get(f"{PATH}?expired=true", headers=BEARER)).json()
    assert [each["state"] for each in shown["silences"]] == ["expired"]
    assert (await client.delete(f"{PATH}/{document['id']}", headers=BEARER)).status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic " + b64encode(f"any:{TOKEN}".encode()).decode()}, 401),
        ({**BEARER, "Origin": "https://evil.example"}, 403),
        ({**BEARER, "Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
    ],
)
async def test_nothing_is_changed_without_the_token_as_bearer_or_for_a_web_page(
    client: Client, store: Store, headers: dict[str, str], status: int
) -> None:
    """Also from this machine: a browser adds Basic by itself to what any page makes it send."""
    assert (await client.post(PATH, json=GOOD, headers=BEARER)).status == 201
    [silence] = await store.silences.list_silences(now=NOW)
    for answer in (
        await client.post(PATH, json=GOOD, headers=headers),
        await client.delete(f"{PATH}/{silence.id}", headers=headers),
    ):
        assert answer.status == status
        assert "Basic" not in answer.headers.get("WWW-Authenticate", "")
    assert await store.silences.list_silences(now=NOW) == [silence]
    assert (await client.get(PATH, headers=BEARER)).status == 200


async def test_a_bridge_without_a_token_changes_nothing(store: Store) -> None:
    """The refusal names the key to set; reads on this machine stay open."""
    async with TestClient(TestServer(pages(store, None))) as client:
        refused = await client.post(PATH, json=GOOD, headers={"Authorization": "Bearer "})
        assert refused.status == 403
        assert "http.token_file" in (await refused.json())["error"]
        assert (await client.get(PATH)).status == 200
    assert await store.silences.list_silences(now=NOW) == []


async def test_a_browser_that_asks_whether_it_may_gets_no_leave(client: Client) -> None:
    """The request before the request (CORS) is answered with a refusal and no permission."""
    answer = await client.options(
        PATH,
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "authorization"},
    )  # fmt: skip
    assert answer.status == 401
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"serail": "V2AB*"}, 'serail: there is no such key; did you mean "serial"?'),
        ({"controller": "emae"}, "controller: none matches 'emae'; did you mean \"emea\"?"),
        ({"job": ["4x"]}, "job: '4x' is not a job id"),
        ({"job": True}, "job: True is not a job id"),
        ({"job": 2**70}, "is not a job id"),
        ({"serial": 7}, "serial: write a pattern"),
        ({"serial": [["V2"]]}, "serial: write a pattern"),
        ({"serial": []}, "at least one matcher"),
        ({"serial": [""]}, "a matcher is empty"),
        (
            {"duration": "4 fortnights"},
            "duration: '4 fortnights' is not a duration; write for example 30m, 4h or 2d",
        ),
        ({"duration": None}, "duration: None is not a duration"),
        ({"duration": 1e308}, "more than ten years"),
        ({"duration": 0}, "must end after it starts"),
        ({"ends": "2026-11-24T09:00Z"}, "write either duration"),
        ({"starts": "tomorrow"}, "starts: 'tomorrow' is not a time"),
        ({"starts": ""}, "starts: '' is not a time"),
        ({"created_by": ""}, "the name of the person who adds it"),
        ({"created_by": 7}, "created_by: write a text"),
        ({"comment": None}, "comment: write a text"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_kept(
    client: Client, store: Store, asked: dict[str, Any], problem: str
) -> None:
    """Each with its remedy, as 400."""
    answer = await client.post(PATH, json=GOOD | asked, headers=BEARER)
    assert answer.status == 400
    assert problem in (await answer.json())["error"]
    assert await store.silences.list_silences(now=NOW) == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 50_000, "application/json", 400),
        (b'"\xff"', "application/json", 400),
        (b'["serial"]', "application/json", 400),
        (b'{"serial": "V2AB*"}', "text/plain", 415),
        (b'{"comment": "%s"}' % (b"x" * 70_000), "application/json", 413),
    ],
)
async def test_a_body_that_is_none_is_refused(client: Client, body: bytes, kind: str, status: int) -> None:
    """Too long, too deep, no JSON, no object."""
    answer = await client.post(PATH, data=body, headers={**BEARER, "Content-Type": kind})
    assert answer.status == status
    assert set(await answer.json()) == {"error"}


async def test_a_body_that_never_ends_is_read_only_as_far_as_allowed(client: Client) -> None:
    """Also where no length is announced."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 8192
            yield b"x" * 8192
            await asyncio.sleep(0)

    answer = await client.post(PATH, data=endless(), headers={**BEARER, "Content-Type": "application/json"})
    assert answer.status == 413
    assert sent < 50_000_000


async def test_a_silence_of_no_calendar_is_refused(client: Client, store: Store) -> None:
    """Seconds that are milliseconds, most likely: nobody could see when it begins."""
    asked = {**GOOD, "starts": 1e15, "duration": "4h"}
    answer = await client.post(PATH, json=asked, headers=BEARER)
    assert answer.status == 400
    assert await store.silences.list_silences(now=NOW) == []
