"""Test refused sign-ins: who must act, and that no secret is shown."""

import base64
import traceback
from typing import Any

import pytest

from cmc_notify.controller import Controller
from cmc_notify.errors import ConfigError, ControllerUnreachable, Unauthorized
from cmc_notify.settings.controller import ControllerSettings
from support.sign_in_server import ACCESS_CODE, BASIC, COOKIE, SignInServer, client

TOKEN = {"method": "token", "token": "a.static.token"}
EVERY_METHOD = pytest.mark.parametrize(
    "auth", [ACCESS_CODE, COOKIE, BASIC, TOKEN], ids=lambda auth: str(auth["method"])
)


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
