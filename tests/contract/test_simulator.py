"""The simulated controller keeps the vendor's page: resources, filters, sign-in, errors."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import trustme

from cmc_notify.errors import ConfigError
from cmc_notify.simulator import ABSENT, OPEN, Auth, Quirks, Row, Simulator, scenario_names

JOBS = "/api/cmc.configurator/1.0/jobs"
COMMON = "/api/common/1.0"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session that waits for half a second, no longer."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
        yield session


async def get(http: aiohttp.ClientSession, sim: Simulator, path: str, **options: Any) -> tuple[int, Any]:
    """Status and document of a GET."""
    async with http.get(f"{sim.url}{path}", **options) as response:
        return response.status, await response.json()


async def ids(http: aiohttp.ClientSession, sim: Simulator, query: str = "") -> list[int]:
    """The ids that a job list shows."""
    async with http.get(f"{sim.url}{JOBS}{query}") as response:
        body = await response.read()
        assert response.status == 200
    return [job["id"] for job in json.loads(body)]


def manual(scenario: str = "empty", **options: Any) -> Simulator:
    """A simulator whose clock stands still, by default without sign-in."""
    return Simulator(scenario, speed=0, **{"auth": OPEN, **options})


async def test_status_filter_takes_either_spelling(http: aiohttp.ClientSession) -> None:
    """The status filter matches both spellings in any case, unless the controller is strict."""
    async with manual() as sim:
        sim.jobs.add().start()
        sim.jobs.add()
        assert await ids(http, sim) == [4101, 4102]
        for spelling in ("InProgress", "IN_PROGRESS", "inprogress"):
            assert await ids(http, sim, f"?job_status={spelling}") == [4101]
        assert await ids(http, sim, "?job_status=Queued&feature_id=2") == []
    async with manual(quirks=Quirks(spelling="upper", strict_filter_spelling=True)) as sim:
        sim.jobs.add().start()
        assert await ids(http, sim, "?job_status=InProgress") == []
        assert await ids(http, sim, "?job_status=IN_PROGRESS") == [4101]


@pytest.mark.parametrize("field", ["creation", "push", "completion", "timestamp"])
@pytest.mark.parametrize("inclusive", [True, False])
async def test_after_and_before_compare_the_chosen_time(
    http: aiohttp.ClientSession, field: Any, inclusive: bool
) -> None:
    """Bounds compare with the chosen time; a job that lacks it is in no bounded list."""
    async with manual(quirks=Quirks(after_field=field, inclusive=inclusive)) as sim:
        name = field if field == "timestamp" else f"{field}_time"
        for number, time in enumerate((100, 200, 300), 1):
            job = sim.jobs.add(job_id=number, creation_time=7, timestamp=7)
            job.set(status="Success", **{name: time})
        sim.jobs.add(job_id=9, timestamp=None, creation_time=None)
        at = [2] if inclusive else []
        assert await ids(http, sim, "?after=200") == [*at, 3]
        assert await ids(http, sim, "?before=200") == [1, *at]
        assert await ids(http, sim, "?after=150&before=250") == [2]
        assert len(await ids(http, sim)) == 4


async def test_ignored_filters_give_the_full_list(http: aiohttp.ClientSession) -> None:
    """A controller that ignores filters shows everything, whatever is asked."""
    async with manual(quirks=Quirks(filters_ignored=True)) as sim:
        sim.jobs.add()
        assert await ids(http, sim, "?job_status=Failed&after=9999999999&feature_id=5") == [4101]


async def test_a_malformed_filter_is_refused(http: aiohttp.ClientSession) -> None:
    """A bound that is no integer gives an error document."""
    async with manual() as sim:
        status, document = await get(http, sim, f"{JOBS}?after=yesterday")
        assert (status, document["error_id"]) == (400, "REQUEST_INVALID_INPUT")


async def test_optional_values_are_absent_or_null(http: aiohttp.ClientSession) -> None:
    """Missing values are left out or null, and rows have no result before they are completed."""
    row = Row("V2AB00001", 3, "Running")
    async with manual() as sim:
        sim.jobs.add(rows=[row])
        _, (job,) = await get(http, sim, JOBS)
        assert "push_time" not in job
        assert job["detailed_status"] == [{"status": "Running", "feature_id": 3, "serialnum": "V2AB00001"}]
    async with manual(quirks=Quirks(missing="null", spelling="upper")) as sim:
        sim.jobs.add(rows=[row]).start()
        _, (job,) = await get(http, sim, JOBS)
        assert job["completion_time"] is None
        assert job["job_status"] == "IN_PROGRESS"
        assert job["detailed_status"][0]["result"] is None
        assert job["detailed_status"][0]["status"] == "RUNNING"


async def test_rows_lag_behind_the_status(http: aiohttp.ClientSession) -> None:
    """With a delay the status is final before the rows are, and each step is a version of its own."""
    async with manual(quirks=Quirks(rows_delay=30)) as sim:
        job = sim.jobs.add(rows=[Row("V2AB00001", 3)])
        with job.change():
            job.set_row("V2AB00001", 3, "Fail", "no route")
            job.finish("Failed")
        _, shown = await get(http, sim, f"{JOBS}/items/{job.id}")
        assert (shown["job_status"], shown["detailed_status"][0]["status"]) == ("Failed", "Pending")
        sim.advance(30)
        _, shown = await get(http, sim, f"{JOBS}/items/{job.id}")
        assert shown["detailed_status"][0]["error_text"] == "no route"
        assert [version.time - sim.clock.start for version in sim.history] == [0, 0, 30]


async def test_cancel_ends_an_open_job_once(http: aiohttp.ClientSession) -> None:
    """Cancel answers the canceled job, and refuses a finished one with an error document."""
    async with manual() as sim:
        job = sim.jobs.add()
        job.start()
        url = f"{sim.url}{JOBS}/items/{job.id}/cancel"
        async with http.post(url) as response:
            assert (response.status, (await response.json())["job_status"]) == (200, "Canceled")
        async with http.post(url) as response:
            assert (response.status, (await response.json())["error_id"]) == (409, "JOB_ALREADY_FINISHED")
        assert (await get(http, sim, f"{JOBS}/items/999"))[0] == 404


async def test_a_restored_controller_uses_ids_again(http: aiohttp.ClientSession) -> None:
    """A reused id is another job with a key of its own; by id the newer one is served."""
    async with manual() as sim:
        old = sim.jobs.add(job_id=5, creation_time=100)
        new = sim.jobs.add(job_id=5, creation_time=900)
        assert old.key != new.key
        assert (await get(http, sim, f"{JOBS}/items/5"))[1]["creation_time"] == 900
        new.purge()
        assert await ids(http, sim) == [5]
        assert {version.key for version in sim.history} == {old.key, new.key}


async def test_a_rerun_starts_again() -> None:
    """A rerun has a new push time, no completion time, and pending rows."""
    async with manual() as sim:
        job = sim.jobs.add()
        job.start()
        with job.change():
            job.set_row("V2AB00001", 1, "Fail", "x")
            job.finish("Failed")
        sim.advance(100)
        job.rerun()
        document = sim.history[-1].document
        assert document["push_time"] == int(sim.now)
        assert "completion_time" not in document
        assert document["detailed_status"][0]["status"] == "Pending"


async def test_features_and_inventory(http: aiohttp.ClientSession) -> None:
    """Features by list, name and id; appliances by list and filter, or refused."""
    async with manual("night-push", appliances=12) as sim:
        base = "/api/cmc.configurator/1.1/features"
        assert len((await get(http, sim, base))[1]) == 8
        assert [item["id"] for item in (await get(http, sim, f"{base}?name=qos"))[1]] == [3]
        assert (await get(http, sim, f"{base}/items/3"))[1]["pretty_name"] == "QoS"
        assert (await get(http, sim, f"{base}/items/77"))[0] == 404
        inventory = "/api/cmc.appliance_inventory/1.0/brief_appliances"
        assert len((await get(http, sim, inventory))[1]) == 12
        (one,) = (await get(http, sim, f"{inventory}?serial=V2AB00002"))[1]
        assert one["hostname"] == "amsterdam-edge-2"
    for kind in ("404", "403"):
        async with manual(quirks=Quirks(inventory=kind, services_404=True, auth_info_404=True)) as sim:
            assert (await get(http, sim, inventory))[0] == int(kind)
            assert (await get(http, sim, f"{COMMON}/services"))[0] == 404
            assert (await get(http, sim, f"{COMMON}/auth_info"))[0] == 404


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
