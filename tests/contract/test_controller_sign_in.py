"""Every way to sign in, renewal in mid-life, and refusals that tell an operator what to do and no secret."""

import asyncio
import base64
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cmc_notify.controller import Controller
from cmc_notify.errors import ConfigError, ControllerUnreachable, Unauthorized
from cmc_notify.settings.controller import ControllerSettings

ACCESS_CODE = {"method": "access_code", "access_code": "code-of-the-bridge"}
COOKIE = {"method": "cookie", "username": "bridge", "password": "pass-word"}
BASIC = {"method": "basic", "username": "bridge", "password": "pass-wörd"}
TOKEN = {"method": "token", "token": "a.static.token"}
EVERY_METHOD = pytest.mark.parametrize(
    "auth", [ACCESS_CODE, COOKIE, BASIC, TOKEN], ids=lambda auth: str(auth["method"])
)


class SignInServer:
    """A controller that lets in who shows the credential it last handed out, or the fixed one."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.token = "token-{}"
        self.expires_in: object = None
        self.valid: set[str] = set()
        self.locked = False
        self.refuse_sign_in: tuple[int, dict[str, str]] | None = None
        self.token_answer: dict[str, object] = {}
        self.error = {"error_id": "AUTH_EXPIRED_TOKEN"}
        self.error_status = 401
        self.supported: list[str] | None = ["BASIC", "COOKIE", "OAUTH2.0"]
        self.forms: list[dict[str, Any]] = []
        self.asked = asyncio.Event()
        self.slow = asyncio.Event()
        self.slow.set()
        self.url = ""

    async def exchange(self, request: web.Request) -> web.Response:
        """``oauth/token``."""
        self.count["sign-in"] += 1
        form = dict(await request.post())
        self.forms.append(form)
        self.asked.set()
        await self.slow.wait()
        if self.refuse_sign_in:
            return web.json_response(self.refuse_sign_in[1], status=self.refuse_sign_in[0])
        token = self.token.format(self.count["sign-in"])
        self.valid = {f"{'SignedBearer' if token.count('.') == 2 else 'Bearer'} {token}"}
        answer = {"access_token": token, "state": form["state"], "expires_in": self.expires_in}
        return web.json_response(answer | self.token_answer)

    async def log_in(self, request: web.Request) -> web.Response:
        """``login``."""
        self.count["sign-in"] += 1
        document = await request.json()
        if self.refuse_sign_in or document != {"username": "bridge", "password": "pass-word"}:
            status, words = self.refuse_sign_in or (401, {"error_id": "AUTH_INVALID_CREDENTIALS"})
            return web.json_response(words, status=status)
        response = web.json_response({})
        self.valid = {f"session={self.count['sign-in']}=="}
        response.headers["Set-Cookie"] = f"{next(iter(self.valid))}; Path=/; HttpOnly"
        return response

    async def auth_info(self, _: web.Request) -> web.Response:
        """``auth_info``."""
        if self.supported is None:
            return web.Response(status=404)
        return web.json_response({"supported_methods": self.supported})

    async def jobs(self, request: web.Request) -> web.Response:
        """The job list, for those who are signed in."""
        self.count["jobs"] += 1
        shown = {request.headers.get("Authorization"), request.headers.get("Cookie")}
        if self.locked or not shown & self.valid:
            return web.json_response(self.error, status=self.error_status)
        return web.json_response([])


@pytest.fixture
async def cmc() -> AsyncIterator[SignInServer]:
    """A running controller that wants to be signed in to."""
    fake = SignInServer()
    app = web.Application()
    app.router.add_post("/api/common/1.0/oauth/token", fake.exchange)
    app.router.add_post("/api/common/1.0/login", fake.log_in)
    app.router.add_get("/api/common/1.0/auth_info", fake.auth_info)
    app.router.add_get("/api/cmc.configurator/1.0/jobs", fake.jobs)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


def client(cmc: SignInServer, auth: dict[str, Any], clock: list[float] | None = None) -> Controller:
    """A client that signs in this way; ``clock`` holds the time that it sees."""
    settings = ControllerSettings.model_validate({"url": cmc.url, "auth": auth})
    return Controller("emea", settings, clock=lambda: clock[0] if clock else 0.0)


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


@EVERY_METHOD
async def test_a_second_refusal_is_reported(cmc: SignInServer, auth: dict[str, Any]) -> None:
    """A 401 after a new sign-in is Unauthorized, with the controller's error_id, and asked no third time."""
    cmc.locked = True
    cmc.error = {"error_id": "AUTH_REQUIRED", "error_text": "who are you?"}
    async with client(cmc, auth) as controller:
        with pytest.raises(Unauthorized, match=r"401 \(AUTH_REQUIRED who are you\?\); check the credentials"):
            await controller.list_jobs()
    assert cmc.count["jobs"] == 2


async def test_the_credential_works_again_after_the_operator_acted(cmc: SignInServer) -> None:
    """A refusal is not remembered: with the account unlocked, the next request goes through."""
    cmc.refuse_sign_in = (400, {"error_id": "AUTH_INVALID_CREDENTIALS"})
    async with client(cmc, ACCESS_CODE) as controller:
        with pytest.raises(Unauthorized):
            await controller.list_jobs()
        cmc.refuse_sign_in = None
        assert await controller.list_jobs() == []


@pytest.mark.parametrize(("status", "error"), [(403, {"error_id": "AUTH_EXPIRED_TOKEN"}), (401, {})])
async def test_status_or_error_id_alone_ends_a_session(
    cmc: SignInServer, status: int, error: dict[str, str]
) -> None:
    """A 401 without a word, and an error_id of the sign-in with another status, both renew it."""
    async with client(cmc, ACCESS_CODE) as controller:
        await controller.list_jobs()
        cmc.valid = set()
        cmc.error_status, cmc.error = status, error
        assert await controller.list_jobs() == []
    assert cmc.count == {"sign-in": 2, "jobs": 3}


@pytest.mark.parametrize(
    ("auth", "supported", "said"),
    [
        (
            ACCESS_CODE,
            ["BASIC", "COOKIE"],
            "auth.method access_code is not offered by this controller, only BASIC, COOKIE",
        ),
        (ACCESS_CODE, ["OAUTH_2_0"], "check the credentials in auth"),
        (ACCESS_CODE, ["OAUTH2.0"], "check the credentials in auth"),
        (ACCESS_CODE, [], "check the credentials in auth"),
        (COOKIE, None, "auth.method cookie is not offered by this controller, only BASIC"),
        (BASIC, ["COOKIE"], "auth.method basic is not offered by this controller, only COOKIE"),
        ({"method": "none"}, ["COOKIE"], "set auth.method .the controller offers COOKIE"),
    ],
)
async def test_a_refusal_says_what_to_do(
    cmc: SignInServer, auth: dict[str, Any], supported: list[str] | None, said: str
) -> None:
    """Where auth_info shows that the method is the mistake, the error says which ones are offered."""
    cmc.supported = supported
    cmc.locked = True
    cmc.refuse_sign_in = (400, {"error_id": "AUTH_INVALID_CREDENTIALS"})
    async with client(cmc, auth) as controller:
        with pytest.raises(Unauthorized, match=said):
            await controller.list_jobs()


async def test_offered_methods_are_shown_only_as_names(cmc: SignInServer) -> None:
    """Megabytes or control characters where a method's name belongs stay out of events and mails."""
    cmc.supported = ["W" * 1_000_000, "\x1b[2J", *(f"M{number}" for number in range(1000))]
    cmc.locked = True
    async with client(cmc, BASIC) as controller:
        with pytest.raises(Unauthorized) as caught:
            await controller.list_jobs()
    assert str(caught.value).endswith("only M0, M1, M2, M3, M4, M5, M6, M7, M8, M9")


async def test_what_a_proxy_repeats_of_its_credentials_is_hidden(cmc: SignInServer) -> None:
    """On plain HTTP a proxy's refusal comes as the controller's, and may hold what the proxy was shown."""
    echoed = base64.b64encode(b"user:proxy-p@ss").decode()
    cmc.error = {"error_id": "AUTH_REQUIRED", "error_text": f"{echoed} proxy-p@ss proxy-p%40ss"}
    cmc.locked = True
    settings = {"url": cmc.url, "proxy": cmc.url.replace("//", "//user:proxy-p%40ss@")}
    async with Controller("emea", ControllerSettings.model_validate(settings)) as controller:
        with pytest.raises(Unauthorized, match=r"\*\*\* \*\*\* \*\*\*") as caught:
            await controller.list_jobs()
    assert echoed not in str(caught.value)
    assert "proxy-p" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_sign_in_that_fails_is_an_outage(cmc: SignInServer, status: int) -> None:
    """A controller that is too busy to sign us in has not refused our credentials."""
    cmc.refuse_sign_in = (status, {"error_id": "INTERNAL_ERROR"})
    async with client(cmc, ACCESS_CODE) as controller:
        with pytest.raises(ControllerUnreachable, match=rf"{status} \(INTERNAL_ERROR\)"):
            await controller.list_jobs()


@EVERY_METHOD
async def test_no_secret_is_shown(cmc: SignInServer, auth: dict[str, Any]) -> None:
    """Not even where the controller repeats it: neither in an error, nor its traceback, nor a repr."""
    secrets = ["code-of-the-bridge", "pass-word", "pass-wörd", "a.static.token", "token-1", "token-2"]
    secrets.append(base64.b64encode("bridge:pass-wörd".encode()).decode())
    echo = {"error_id": "AUTH_REQUIRED", "error_text": " ".join(secrets)}
    cmc.error = echo
    cmc.locked = True
    errors: list[BaseException] = []
    async with client(cmc, auth) as controller:
        with pytest.raises(Unauthorized) as caught:
            await controller.list_jobs()
        errors.append(caught.value)
        credential = await controller._sign_in.credential()
        shown = repr(vars(controller)) + repr(vars(controller._sign_in)) + repr(credential)
        cmc.refuse_sign_in = (401, echo)
        with pytest.raises(Unauthorized) as caught:
            await controller.list_jobs()
        errors.append(caught.value)
    ours = {
        "access_code": ["code-of-the-bridge", "token-2"],
        "cookie": ["pass-word"],
        "basic": ["pass-wörd", secrets[-1]],
        "token": ["a.static.token"],
    }[auth["method"]]
    shown += "".join("".join(traceback.format_exception(error)) for error in errors)
    for secret in ours:
        assert secret not in shown
    assert "***" in str(errors[0])


@pytest.mark.parametrize("auth", [ACCESS_CODE, COOKIE], ids=["access_code", "cookie"])
async def test_no_secret_is_shown_at_the_first_refusal(cmc: SignInServer, auth: dict[str, Any]) -> None:
    """A controller that repeats what it refuses, before any sign-in went well, makes us tell nothing."""
    echo = {"error_id": "AUTH_INVALID_CREDENTIALS", "error_text": "not code-of-the-bridge, not pass-word"}
    cmc.refuse_sign_in = (401, echo)
    async with client(cmc, auth) as controller:
        with pytest.raises(Unauthorized) as caught:
            await controller.list_jobs()
    secret = "code-of-the-bridge" if auth is ACCESS_CODE else "pass-word"
    assert secret not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("auth", "place"),
    [
        ({"method": "token", "token": "two words"}, "controllers.emea.auth.token"),
        ({"method": "access_code", "access_code": "cöde"}, "controllers.emea.auth.access_code"),
        ({"method": "basic", "username": "a:b", "password": "x"}, "controllers.emea.auth.username"),
    ],
)
async def test_a_credential_that_no_request_can_carry_is_refused_at_start(
    cmc: SignInServer, auth: dict[str, Any], place: str
) -> None:
    """A secret pasted with a blank in it is a mistake in the config, named by its key."""
    with pytest.raises(ConfigError, match=place) as caught:
        client(cmc, auth)
    assert "two words" not in str(caught.value)


async def test_credentials_on_plain_http_are_warned_about(cmc: SignInServer) -> None:
    """Whoever sends a secret unencrypted is told at start; without a secret there is nothing to warn of."""
    (warning,) = client(cmc, BASIC).warnings
    assert "controllers.emea.url" in warning
    assert client(cmc, {"method": "none"}).warnings == ()
