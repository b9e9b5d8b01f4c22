"""Sign-in and sessions on a real store: the rule for changes, proxies, throttling, the audit."""

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from cmc_notify.core.access import Right, digest_of
from cmc_notify.core.links import Links
from cmc_notify.ports import SignInCode
from cmc_notify.settings import HttpSettings
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics
from cmc_notify.web import create_app
from support.new_store import new_store
from support.web_fakes import FakeStatus

NOW = 1_795_430_000.0
NOC, GRAFANA, OTHER = "n" * 24, "g" * 24, "o" * 24
SILENCE = {"serial": "V2AB*", "duration": "4h", "created_by": "Zoë", "comment": "being replaced"}
Client = TestClient[web.Request, web.Application]
BOTH = {"noc": {"token": NOC, "may": "act"}, "grafana": {"token": GRAFANA}}


class Bridge:
    """Replicas on one store, each with rules of its own, under one clock."""

    def __init__(self, store: Store, time: SimpleNamespace) -> None:
        self.store = store
        self.time = time
        self.rules = HttpSettings(tokens=BOTH).rules

    def reload(self, **http: object) -> None:
        """Another config."""
        self.rules = self.rules.succeeded_by(HttpSettings.model_validate(http).rules, self.time.now)

    def app(self, cookie: str = "cmc-notify-a") -> web.Application:
        """One replica."""
        return create_app(
            ledger=self.store.ledger,
            silences=self.store.silences,
            actions=self.store.chat_actions,
            sessions=self.store.sessions,
            status=FakeStatus(),
            metrics=Metrics(),
            rules=lambda: self.rules,
            cookie=cookie,
            clock=lambda: self.time.now,
        )


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    """A new store behind one bridge."""
    time = SimpleNamespace(now=NOW)
    store = await new_store(tmp_path / "store.db", clock=lambda: time.now)
    yield Bridge(store, time)
    await store.close()


@pytest.fixture
async def client(bridge: Bridge) -> AsyncIterator[Client]:
    """A browser without a cookie yet."""
    async with TestClient(TestServer(bridge.app()), cookie_jar=CookieJar(unsafe=True)) as found:
        yield found


def own(client: Client) -> dict[str, str]:
    """What a browser sends with a form of our own page over plain HTTP."""
    return {"Origin": str(client.make_url("/")).rstrip("/")}


async def sign_in(client: Client, token: str = NOC, **fields: str) -> int:
    """Send the form; the status."""
    answer = await client.post(
        "/login", data={"token": token, **fields}, headers=own(client), allow_redirects=False
    )
    return answer.status


async def test_people_sign_in_and_out(bridge: Bridge, client: Client) -> None:
    """A browser is shown the form in place of the page; the cookie holds no secret of the config."""
    form = await client.get("/events/e1?x=1", headers={"Accept": "text/html"})
    assert (form.status, form.headers.get("WWW-Authenticate")) == (401, None)
    page = await form.text()
    assert 'action="../login"' in page
    assert 'value="/events/e1?x=1"' in page
    answer = await client.post(
        "/login", data={"token": NOC, "next": "/events/e1?x=1"}, headers=own(client), allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (303, "./events/e1?x=1")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("cmc-notify-a=")
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
    assert NOC not in cookie
    shown = await (await client.get("/", headers={"Accept": "text/html"})).text()
    assert "Signed in as <bdi>noc</bdi>" in shown
    [session] = await bridge.store.sessions.list_sessions(now=NOW)
    assert (session.name, session.right, session.address) == ("noc", Right.ACT, "127.0.0.1")
    assert session.id not in cookie
    async with TestClient(TestServer(bridge.app()), cookie_jar=client.session.cookie_jar) as replica:
        assert (await replica.get("/api/v1/status")).status == 200, "it holds on every replica"
        out = await replica.post("/logout", data={}, headers=own(replica), allow_redirects=False)
        assert out.status == 303
    assert (await client.get("/api/v1/status")).status == 401


async def test_https_makes_the_cookie_secure(bridge: Bridge) -> None:
    """No other host and no plain connection can set or see it."""
    bridge.rules = HttpSettings(external_url="https://bridge.example.net", token=SecretStr(NOC)).rules
    async with TestClient(TestServer(bridge.app("cmc-notify-b"))) as client:
        answer = await client.post(
            "/login", data={"token": NOC}, headers={"Origin": "https://bridge.example.net"},
            allow_redirects=False,
        )  # fmt: skip
    assert answer.headers["Set-Cookie"].startswith("__Host-cmc-notify-b=")
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_site_changes_nothing(bridge: Bridge, client: Client, headers: dict[str, str]) -> None:
    """It can't sign anybody in or out, nor add a silence with the session of its visitor."""
    assert (await client.post("/login", data={"token": NOC}, headers=headers)).status == 403
    assert await sign_in(client) == 303
    assert (await client.post("/api/v1/silences", json=SILENCE, headers=headers)).status == 403
    assert (await client.post("/logout", data={}, headers=headers)).status == 403
    assert await bridge.store.silences.list_silences(now=NOW) == []
    assert (await client.get("/api/v1/status")).status == 200
    made = await client.post("/api/v1/silences", json=SILENCE, headers={"Sec-Fetch-Site": "same-origin"})
    assert made.status == 201
    assert (await client.post("/api/v1/silences", json=SILENCE, headers=own(client))).status == 201


async def test_the_right_to_read_changes_nothing(bridge: Bridge, client: Client) -> None:
    """Neither as Bearer, nor by a session; Basic reads only, whatever the token may do."""
    bearer = {"Authorization": f"Bearer {GRAFANA}"}
    assert (await client.get("/api/v1/status", headers=bearer)).status == 200
    assert (
        await client.get("/api/v1/status", headers=bearer | {"Origin": "https://x.example"})
    ).status == 403
    assert (await client.post("/api/v1/silences", json=SILENCE, headers=bearer)).status == 403
    basic = {"Authorization": "Basic " + b64encode(f"any:{NOC}".encode()).decode()}
    assert (await client.get("/api/v1/status", headers=basic)).status == 200
    assert (await client.post("/api/v1/silences", json=SILENCE, headers=basic)).status == 401
    assert await sign_in(client, GRAFANA) == 303
    assert (await client.post("/api/v1/silences", json=SILENCE, headers=own(client))).status == 403
    refused = await bridge.store.chat_actions.actions()
    assert {each.outcome for each in refused} == {"refused"}
    assert {each.who for each in refused} == {"grafana", "noc"}


async def test_every_change_is_recorded(bridge: Bridge, client: Client) -> None:
    """With who, from where, and the outcome."""
    bearer = {"Authorization": f"Bearer {NOC}"}
    made = await (await client.post("/api/v1/silences", json=SILENCE, headers=bearer)).json()
    assert (await client.post("/api/v1/silences", json={}, headers=bearer)).status == 400
    failed, done = sorted(
        await bridge.store.chat_actions.actions(), key=lambda row: row.outcome, reverse=True
    )
    assert (done.outcome, done.who, done.via, done.address) == ("done", "noc", "token", "127.0.0.1")
    assert (done.action, done.subject) == ("silence", f"silence:{made['id']}")
    assert failed.outcome == "failed"
    assert "write either duration" in (failed.answer or "")


async def test_a_token_that_is_gone_ends_its_sessions(bridge: Bridge, client: Client) -> None:
    """Removed: at once. Changed: after a minute, for which the old one still counts."""
    assert await sign_in(client) == 303
    bearer = {"Authorization": f"Bearer {NOC}"}
    bridge.reload(tokens={"noc": {"token": OTHER, "may": "act"}})
    bridge.time.now += 59
    assert (await client.get("/api/v1/status")).status == 200
    assert (await client.get("/api/v1/status", headers=bearer)).status == 200
    bridge.time.now += 2
    assert (await client.get("/api/v1/status")).status == 401
    assert (await client.get("/api/v1/status", headers=bearer)).status == 401
    assert await sign_in(client, OTHER) == 303
    assert (await client.get("/api/v1/status")).status == 200
    bridge.reload()
    assert (await client.get("/api/v1/status")).status == 403, "and nobody becomes local by it"


async def test_a_session_ends_after_twelve_hours(bridge: Bridge, client: Client) -> None:
    """Whatever happened in it."""
    assert await sign_in(client) == 303
    bridge.time.now += 12 * 3600 - 1
    assert (await client.get("/api/v1/status")).status == 200
    bridge.time.now += 1
    assert (await client.get("/api/v1/status")).status == 401


async def test_a_code_signs_in_once(bridge: Bridge, client: Client) -> None:
    """To open its link changes nothing, so that no preview uses it up."""
    code = SignInCode(
        id=digest_of("c0de"), name="noc", right=Right.ACT, token=digest_of(NOC), ends_at=NOW + 600
    )
    await bridge.store.sessions.add_code(code)
    for _ in range(2):
        assert 'name="code" value="c0de"' in await (await client.get("/login?code=c0de")).text()
    for status in (303, 401):
        answer = await client.post(
            "/login", data={"code": "c0de"}, headers=own(client), allow_redirects=False
        )
        assert answer.status == status
    assert (await client.get("/api/v1/status")).status == 200


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/login"]
)
async def test_the_sign_in_leads_nowhere_else(client: Client, back: str) -> None:
    """A link can't send people on to another site."""
    answer = await client.post(
        "/login", data={"token": NOC, "next": back}, headers=own(client), allow_redirects=False
    )
    assert answer.headers["Location"] == "./"


async def test_wrong_tokens_are_throttled(client: Client) -> None:
    """After ten, the right one waits too; health checks and sessions don't."""
    assert await sign_in(client) == 303
    wrong = [await sign_in(client, "wrong") for _ in range(12)]
    assert wrong == [401] * 10 + [429] * 2
    refused = await client.get("/api/v1/status", headers={"Authorization": f"Bearer {NOC}"})
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) <= 6
    assert (await client.get("/api/v1/status")).status == 200
    assert (await client.get("/healthz")).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("X-Forwarded-User", "anna"), ("X-Proxy-Secret", "p" * 24)], 200),
        ([("X-Forwarded-User", "anna")], 401),
        ([("X-Forwarded-User", "anna"), ("X-Proxy-Secret", "wrong")], 401),
        ([("X-Forwarded-User", "anna"), ("X-Forwarded-User", "bert"), ("X-Proxy-Secret", "p" * 24)], 401),
        ([("X-Forwarded-User", "a" * 129), ("X-Proxy-Secret", "p" * 24)], 401),
        ([("X-Forwarded-User", "zoe"), ("X-Proxy-Secret", "p" * 24)], 401),
        ([("X-Proxy-Secret", "p" * 24)], 401),
    ],
)
async def test_a_proxy_names_people(
    bridge: Bridge, client: Client, headers: list[tuple[str, str]], status: int
) -> None:
    """Only with its secret, exactly one name, and a name that may read; acting has its own list."""
    bridge.reload(
        proxy_auth={"trusted": ["127.0.0.1"], "secret": "p" * 24, "read": ["a*", "b*"], "act": ["bert"]}
    )
    assert (await client.get("/api/v1/status", headers=headers)).status == status
    changed = await client.post(
        "/api/v1/silences", json=SILENCE, headers=[*headers, ("Sec-Fetch-Site", "same-origin")]
    )
    assert changed.status == (403 if status == 200 else 401)


async def test_a_proxy_counts_from_its_address_alone(bridge: Bridge, client: Client) -> None:
    """From anywhere else its header is only text."""
    bridge.reload(proxy_auth={"trusted": ["192.0.2.1"], "act": ["*"]})
    assert (await client.get("/api/v1/status", headers={"X-Forwarded-User": "anna"})).status == 401


def test_an_external_address_closes_the_pages() -> None:
    """Nobody is local, whatever the request looks like; a loopback one leaves them open."""
    assert HttpSettings(external_url="https://bridge.example.net").rules.guarded
    assert not HttpSettings(external_url="http://localhost:8080").rules.guarded
    assert not HttpSettings().rules.guarded


async def test_a_revoked_link_opens_nothing(bridge: Bridge) -> None:
    """Other bytes in the store, and every link is void."""
    before = await bridge.store.ledger.secret("event-links")
    await bridge.store.ledger.replace_secret("event-links", b"n" * 32)
    after = await bridge.store.ledger.secret("event-links")
    url = urlsplit(Links(before, "https://bridge.example.net").event("e1", NOW, delivery="d1") or "")
    fields = dict(part.split("=") for part in url.query.split("&"))
    given = ("e1", fields["expires"], fields["signature"], NOW)
    assert Links(before, None).verify(*given, delivery="d1")
    assert not Links(before, None).verify(*given), "the scope is signed, too"
    assert not Links(after, None).verify(*given, delivery="d1")
