"""Every way to sign in, renewal in mid-life, and refusals that tell an operator what to do and no secret."""

import asyncio
import base64
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cmc_notify.errors import ControllerUnreachable
from support.sign_in_server import ACCESS_CODE, BASIC, COOKIE, SignInServer, client


async def test_basic_sends_user_and_password(cmc: SignInServer) -> None:
    """Basic sign-in sends the pair with each request, in UTF-8."""
    cmc.valid = {"Basic " + base64.b64encode("bridge:pass-wörd".encode()).decode()}
    async with client(cmc, BASIC) as controller:
        assert await controller.list_jobs() == []
    assert cmc.count == {"jobs": 1}


@pytest.mark.parametrize(
    ("token", "header"), [("a.static.token", "SignedBearer a.static.token"), ("plain", "Bearer plain")]
)
async def test_a_given_token_is_sent_by_its_kind(cmc: SignInServer, token: str, header: str) -> None:
    """A token of three parts goes as SignedBearer, any other as Bearer."""
    cmc.valid = {header}
    async with client(cmc, {"method": "token", "token": token}) as controller:
        assert await controller.list_jobs() == []


async def test_a_cookie_session_is_kept(cmc: SignInServer) -> None:
    """One log-in serves all requests, its cookie sent back as it came, also to a bare IP address."""
    async with client(cmc, COOKIE) as controller:
        await controller.list_jobs()
        assert await controller.list_jobs() == []
    assert cmc.count == {"sign-in": 1, "jobs": 2}


async def test_a_log_in_without_a_cookie_is_no_sign_in(cmc: SignInServer) -> None:
    """A log-in answered without a cookie is reported as such, at once."""

    async def forgetful(_: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/api/common/1.0/login", forgetful)
    async with TestServer(app) as server:
        cmc.url = str(server.make_url("")).rstrip("/")
        async with client(cmc, COOKIE) as controller:
            with pytest.raises(ControllerUnreachable, match="sets no cookie"):
                await controller.list_jobs()


@pytest.mark.parametrize("token", ["token-{}", "to.ken.{}"])
async def test_an_access_code_is_exchanged_for_a_token(cmc: SignInServer, token: str) -> None:
    """The code goes in an unsigned assertion with a fresh state; the token that comes back serves on."""
    cmc.token = token
    async with client(cmc, ACCESS_CODE) as controller:
        await controller.list_jobs()
        assert await controller.list_jobs() == []
    assert cmc.count == {"sign-in": 1, "jobs": 2}
    (form,) = cmc.forms
    header, code, signature = form["assertion"].split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"none"}'
    assert (form["grant_type"], code, signature) == ("access_code", "code-of-the-bridge", "")
    assert len(form["state"]) >= 16


async def test_each_exchange_has_a_state_of_its_own(cmc: SignInServer) -> None:
    """The state can't be guessed from an earlier one."""
    for _ in range(2):
        async with client(cmc, ACCESS_CODE) as controller:
            await controller.list_jobs()
    assert len({form["state"] for form in cmc.forms}) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"state": "another"}, "a different state"),
        ({"state": None}, "a different state"),
        ({"access_token": None}, "no usable access_token"),
        ({"access_token": "two words"}, "no usable access_token"),
        ({"access_token": "line\r\nbreak"}, "no usable access_token"),
    ],
)
async def test_an_answer_that_is_not_ours_is_refused(
    cmc: SignInServer, answer: dict[str, object], said: str
) -> None:
    """A token with a foreign state, or one that no header can carry, is never used."""
    cmc.token_answer = answer
    async with client(cmc, ACCESS_CODE) as controller:
        with pytest.raises(ControllerUnreachable, match=said):
            await controller.list_jobs()
    assert cmc.count["jobs"] == 0


@pytest.mark.parametrize(
    ("expires_in", "life"), [(100, 100), ("100", 100), (None, 3600), (0, 3600), ("soon", 3600)]
)
async def test_a_token_is_renewed_before_it_ends(cmc: SignInServer, expires_in: object, life: int) -> None:
    """At 80 % of its life a token is renewed, without a refused request in between."""
    cmc.expires_in = expires_in
    clock = [1000.0]
    async with client(cmc, ACCESS_CODE, clock) as controller:
        await controller.list_jobs()
        clock[0] += life * 0.79
        await controller.list_jobs()
        assert cmc.count == {"sign-in": 1, "jobs": 2}
        clock[0] += life * 0.02
        await controller.list_jobs()
        assert cmc.count == {"sign-in": 2, "jobs": 3}


async def test_concurrent_requests_share_one_sign_in(cmc: SignInServer) -> None:
    """However many requests wait for a credential, one of them fetches it."""
    cmc.slow.clear()
    async with client(cmc, ACCESS_CODE) as controller:
        waiting = [asyncio.create_task(controller.list_jobs()) for _ in range(20)]
        await cmc.asked.wait()
        cmc.slow.set()
        await asyncio.gather(*waiting)
    assert cmc.count == {"sign-in": 1, "jobs": 20}


@pytest.mark.parametrize("auth", [ACCESS_CODE, COOKIE], ids=["access_code", "cookie"])
async def test_concurrent_refusals_share_one_renewal(cmc: SignInServer, auth: dict[str, Any]) -> None:
    """When a session ends in mid-life, all requests go on with one new sign-in and each is repeated once."""
    async with client(cmc, auth) as controller:
        await controller.list_jobs()
        cmc.valid = set()
        results = await asyncio.gather(*(controller.list_jobs() for _ in range(10)))
    assert results == [[]] * 10
    assert cmc.count["sign-in"] == 2
    assert cmc.count["jobs"] <= 1 + 2 * 10
