"""Test the simulator's ways to sign in, faults, histories and TLS."""

import base64
import json
import ssl
from typing import Any

import aiohttp
import pytest
import trustme

from cmc_notify.errors import ConfigError
from cmc_notify.simulator import ABSENT, OPEN, Auth, Row, Simulator, scenario_names
from support.simulator_client import COMMON, JOBS, get, ids, manual


def assertion(code: str) -> str:
    """The access code in its three-part dress."""
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return f"{head}.{code}."


async def token(http: aiohttp.ClientSession, sim: Simulator, code: str) -> tuple[int, Any]:
    """Ask for a token with an access code."""
    form = {"grant_type": "access_code", "state": "s1", "assertion": assertion(code)}
    async with http.post(f"{sim.url}{COMMON}/oauth/token", data=form) as response:
        return response.status, await response.json()


async def test_access_code_sign_in(http: aiohttp.ClientSession) -> None:
    """An access code gives a token with the same state; expired, revoked, refused ones give errors."""
    auth = Auth()
    async with manual(auth=auth) as sim:
        assert (await get(http, sim, JOBS))[1]["error_id"] == "AUTH_REQUIRED"
        assert (await token(http, sim, "wrong"))[1]["error_id"] == "AUTH_INVALID_CREDENTIALS"
        status, document = await token(http, sim, auth.access_code)
        assert (status, document["state"], document["expires_in"]) == (200, "s1", 3600)
        header = {"Authorization": f"Bearer {document['access_token']}"}
        assert (await get(http, sim, JOBS, headers=header))[0] == 200
        sim.sign_in.expire_tokens()
        assert (await get(http, sim, JOBS, headers=header))[1]["error_id"] == "AUTH_EXPIRED_TOKEN"
        sim.sign_in.revoke_tokens()
        assert (await get(http, sim, JOBS, headers=header))[1]["error_id"] == "AUTH_INVALID_SESSION"
        sim.sign_in.refuse_all()
        assert (await token(http, sim, auth.access_code))[0] == 401
        sim.sign_in.accept()
        assert (await token(http, sim, auth.access_code))[0] == 200
        assert sim.sign_in.count == 2


async def test_a_token_of_three_parts_goes_as_signed_bearer(http: aiohttp.ClientSession) -> None:
    """A signed token is refused as a plain Bearer."""
    auth = Auth(signed_tokens=True, send_expires_in=False)
    async with manual(auth=auth) as sim:
        _, document = await token(http, sim, auth.access_code)
        assert "expires_in" not in document
        value = document["access_token"]
        assert (await get(http, sim, JOBS, headers={"Authorization": f"Bearer {value}"}))[0] == 401
        assert (await get(http, sim, JOBS, headers={"Authorization": f"SignedBearer {value}"}))[0] == 200


def basic_header(username: str, password: str) -> str:
    """The Authorization header of basic sign-in."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def test_cookie_and_basic_sign_in() -> None:
    """A login gives a session cookie; basic credentials pass as they are; wrong ones do not."""
    auth = Auth()
    jar = aiohttp.CookieJar(unsafe=True)
    async with manual(auth=auth) as sim, aiohttp.ClientSession(cookie_jar=jar) as http:
        basic = basic_header(auth.username, auth.password)
        wrong = basic_header(auth.username, "no")
        assert (await get(http, sim, JOBS, headers={"Authorization": basic}))[0] == 200
        assert (await get(http, sim, JOBS, headers={"Authorization": wrong}))[0] == 401
        login = {"username": auth.username, "password": auth.password}
        async with http.post(f"{sim.url}{COMMON}/login", json={**login, "password": "no"}) as response:
            assert response.status == 401
        async with http.post(f"{sim.url}{COMMON}/login", json=login) as response:
            assert response.status == 200
        assert (await get(http, sim, JOBS))[0] == 200


@pytest.mark.parametrize("kind", ["500", "503", "401", "cut", "refuse", "garbage", "timeout"])
async def test_a_fault_is_met_once_and_serves_nothing(http: aiohttp.ClientSession, kind: Any) -> None:
    """A request that meets a fault gives no usable list and is not recorded as served."""
    async with manual() as sim:
        sim.jobs.add(rows=[Row("V2AB00001", 1, "Completed", "Fail", "x" * 500)])
        # aiohttp's client repeats a GET once, by itself, where the connection ended without an answer
        sim.fail_next(kind, 2 if kind == "refuse" else 1, path="/jobs")
        with pytest.raises((aiohttp.ClientError, TimeoutError, AssertionError, json.JSONDecodeError)):
            await ids(http, sim)
        assert sim.served == []
        assert sim.requests[0].fault == kind
        assert await ids(http, sim) == [4101]
        assert [entry.versions for entry in sim.served] == [((sim.history[-1].key, 1),)]


async def test_a_slow_body_counts_only_when_it_was_awaited(http: aiohttp.ClientSession) -> None:
    """A caller who leaves in the middle of a slow body was not served; one who waits was."""
    async with manual() as sim:
        sim.jobs.add()
        sim.faults.slow_for = 0.4
        sim.fail_next("slow", 2)
        async with http.get(f"{sim.url}{JOBS}") as response:
            response.close()
        assert await ids(http, sim) == [4101]
        assert [entry.complete for entry in sim.requests] == [False, True]


async def test_an_outage_lasts_as_long_as_its_block(http: aiohttp.ClientSession) -> None:
    """Every request meets the outage, and its hits are counted."""
    async with manual() as sim:
        with sim.outage("500") as outage:
            assert (await get(http, sim, JOBS))[0] == 500
            assert (await get(http, sim, f"{COMMON}/auth_info"))[0] == 500
        assert outage.hits == 2
        assert (await get(http, sim, JOBS))[0] == 200


async def test_hostile_items_stand_in_the_full_list(http: aiohttp.ClientSession) -> None:
    """The hostile list is valid JSON with broken items, escapes for NUL and lone surrogates among it."""
    async with manual("hostile", many=50, big=2) as sim:
        sim.advance(300)
        async with http.get(f"{sim.url}{JOBS}") as response:
            body = await response.read()
        items = json.loads(body)
        assert None in items
        assert 42 in items
        assert rb"\u0000" in body
        assert rb"\ud800" in body
        texts = [row["error_text"] for row in items[-1]["detailed_status"]]
        assert [len(text) for text in texts] == [20_480, 20_480]
        assert texts[0] != texts[1]


async def test_overrides_make_the_document_lie(http: aiohttp.ClientSession) -> None:
    """An override replaces a property on the wire, or leaves it out."""
    async with manual() as sim:
        sim.jobs.add(overrides={"id": "x", "idx": ABSENT})
        _, (job,) = await get(http, sim, JOBS)
        assert job["id"] == "x"
        assert "idx" not in job


@pytest.mark.parametrize("name", ["night-push", "steady", "hostile", "flaky"])
async def test_the_same_seed_gives_the_same_history(name: str) -> None:
    """History depends on scenario, seed and options alone, not on how the time was cut up."""
    histories = []
    for seed, steps in ((1, 1), (1, 13), (2, 1)):
        async with manual(name, seed=seed) as sim:
            for _ in range(steps):
                sim.advance(45 * 60 / steps)
            histories.append([(version.time, version.body) for version in sim.history])
    assert histories[0] == histories[1]
    assert (histories[0] == histories[2]) == (name == "hostile")


async def test_a_scenario_plays_by_itself(http: aiohttp.ClientSession) -> None:
    """With a speed, time passes by itself, and the end of the scenario can be awaited."""
    async with Simulator("night-push", speed=6000, auth=OPEN, appliances=8) as sim:
        assert not sim.finished
        await sim.wait_finished()
        assert sim.now - sim.clock.start >= 42 * 60
        statuses = [job["job_status"] for job in (await get(http, sim, JOBS))[1]]
        assert {"Success", "Failed", "Canceled"} == set(statuses)


async def test_a_large_list_is_served_from_cache(http: aiohttp.ClientSession) -> None:
    """The large scenario has the jobs and rows asked for, and its open jobs finish."""
    async with manual("large", jobs=50, rows=6) as sim:
        assert len(await ids(http, sim)) == 50
        assert len(await ids(http, sim, "?job_status=InProgress")) == 2
        sim.advance(600)
        assert await ids(http, sim, "?job_status=InProgress") == []
        assert sim.finished


async def test_tls() -> None:
    """With a TLS context the controller answers over https."""
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("127.0.0.1").configure_cert(server)
    ca.configure_trust(client)
    async with manual(ssl_context=server) as sim, aiohttp.ClientSession() as http:
        assert (await get(http, sim, JOBS, ssl=client))[0] == 200


def test_unknown_scenarios_and_options_are_refused() -> None:
    """A wrong name or option is an error that says what there is."""
    with pytest.raises(ConfigError, match="did you mean night-push"):
        Simulator("nightpush")
    with pytest.raises(ConfigError, match="it takes jobs, rows"):
        Simulator("large", job=3)
    assert "night-push" in scenario_names()
