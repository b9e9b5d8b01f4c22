"""Sign in: one credential at a time, renewed before it ends, by one request however many tasks wait.

The endpoints are those of the service ``common`` 1.0: ``auth_info``, ``login``, ``oauth/token``.
Secrets are unwrapped only where they are sent; no error and no repr shows one.
"""

import asyncio
import base64
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from cmc_notify.controller.transport import ControllerResponse, Transport
from cmc_notify.controller.wire import integer
from cmc_notify.errors import ConfigError, ControllerUnreachable, Unauthorized
from cmc_notify.settings.controller import AuthSettings

COMMON = "/api/common/1.0"
SIGN_IN_ERRORS = frozenset(
    {"AUTH_REQUIRED", "AUTH_INVALID_SESSION", "AUTH_EXPIRED_TOKEN", "AUTH_INVALID_CREDENTIALS"}
)
"""The ``error_id`` values that concern the sign-in, whatever the status they come with."""

_TOKEN_LIFE = 3600.0  # "about one hour", if the response has no expires_in
_RENEW_AT = 0.8
_JWT_PARTS = 3
# Anything else in auth_info would get into errors, events and messages.
_METHOD = re.compile(r"[A-Za-z0-9._-]{1,40}")
_MOST_METHODS = 10
# The vendor's names of our methods; letters and digits only: OAUTH2.0 and OAUTH_2_0 are both seen.
_OFFERED_AS = {"basic": "BASIC", "cookie": "COOKIE", "access_code": "OAUTH20"}


class Credential(Struct, frozen=True):
    """The headers that sign a request in. A cookie session has none: its cookie is in the transport."""

    headers: Mapping[str, str]
    renew_at: float
    """By the clock of SignIn; infinite if only a 401 shows that it has ended."""

    def __repr__(self) -> str:
        return f"Credential({', '.join(self.headers) or 'no headers'})"


class SignIn:
    """Provides the credential for the next request. Any number of tasks may call it at the same time."""

    def __init__(
        self,
        name: str,
        settings: AuthSettings,
        transport: Transport,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_characters(name, settings)
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._lock = asyncio.Lock()
        self._current: Credential | None = None
        self._obtain: Callable[[], Awaitable[Credential]] = {
            "none": self._nothing,
            "basic": self._basic,
            "cookie": self._log_in,
            "access_code": self._exchange_code,
            "token": self._given_token,
        }[settings.method]

    async def credential(self, *, refused: Credential | None = None) -> Credential:
        """Return the current credential, or a new one if there is none, it ends soon, or it is ``refused``.

        Raises Unauthorized or ControllerUnreachable.
        """
        async with self._lock:
            current = self._current
            if current is None or current is refused or self._clock() >= current.renew_at:
                self._current = None  # a refused or ended one is not used again, even if the next line fails
                self._current = current = await self._obtain()
            return current

    def forget(self) -> None:
        """Sign in again before the next request."""
        self._current = None

    async def refusal(self, response: ControllerResponse) -> Unauthorized:
        """Return the error for a response that refuses our credentials, with a remedy from auth_info."""
        return Unauthorized(f"{self._transport.describe(response)}; {await self._remedy()}")

    async def _remedy(self) -> str:
        method = self._settings.method
        offered = await self._offered()
        known = {"".join(filter(str.isalnum, word.upper())) for word in offered}
        if method == "none":
            return f"set auth.method (the controller offers {', '.join(offered) or 'no method'})"
        if offered and method in _OFFERED_AS and _OFFERED_AS[method] not in known:
            return f"auth.method {method} is not offered by this controller, only {', '.join(offered)}"
        return f"check the credentials in auth (method {method})"

    async def _offered(self) -> list[str]:
        try:
            response = await self._transport.send("GET", f"{COMMON}/auth_info")
        except ControllerUnreachable:
            return []
        if response.status == 404:  # noqa: PLR2004  the vendor's client reads it so
            return ["BASIC"]
        methods = response.document().get("supported_methods") if response.ok else None
        found = methods if isinstance(methods, list) else []
        return [word for word in found if isinstance(word, str) and _METHOD.fullmatch(word)][:_MOST_METHODS]

    async def _nothing(self) -> Credential:
        return Credential({}, float("inf"))

    async def _basic(self) -> Credential:
        user, password = self._user()
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        return self._with_header(f"Basic {encoded}", password, encoded)

    async def _given_token(self) -> Credential:
        assert self._settings.token is not None  # AuthSettings is complete for its method
        token = self._settings.token.get_secret_value()
        return self._with_header(_bearer(token), token)

    async def _log_in(self) -> Credential:
        user, password = self._user()
        self._transport.keep_secret(password)
        self._transport.forget_cookies()
        response = await self._request("login", json={"username": user, "password": password})
        if not self._transport.has_cookies():
            raise ControllerUnreachable(f"{response.endpoint}: the response to the sign-in sets no cookie")
        return Credential({}, float("inf"))

    async def _exchange_code(self) -> Credential:
        assert self._settings.access_code is not None  # AuthSettings is complete for its method
        code = self._settings.access_code.get_secret_value()
        self._transport.keep_secret(code)
        state = secrets.token_urlsafe(24)
        header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        response = await self._request(
            "oauth/token",
            form={"grant_type": "access_code", "assertion": f"{header}.{code}.", "state": state},
        )
        document = response.document()
        if document.get("state") != state:
            raise ControllerUnreachable(
                f"{response.endpoint}: the response to the sign-in has a different state than the request"
            )
        token = document.get("access_token")
        if not isinstance(token, str) or not _sendable(token):
            raise ControllerUnreachable(
                f"{response.endpoint}: the response to the sign-in has no usable access_token"
            )
        life = integer(document.get("expires_in"))
        return self._with_header(_bearer(token), code, token, life=life if life and life > 0 else _TOKEN_LIFE)

    async def _request(
        self, resource: str, *, json: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> ControllerResponse:
        response = await self._transport.send("POST", f"{COMMON}/{resource}", json=json, form=form)
        if not response.ok or response.document().get("error_id") in SIGN_IN_ERRORS:
            raise await self.refusal(response)
        return response

    def _user(self) -> tuple[str, str]:
        assert self._settings.username is not None  # AuthSettings is complete for its method
        assert self._settings.password is not None  # AuthSettings is complete for its method
        return self._settings.username, self._settings.password.get_secret_value()

    def _with_header(self, value: str, *hidden: str, life: float | None = None) -> Credential:
        self._transport.keep_secret(*hidden)
        renew_at = float("inf") if life is None else self._clock() + life * _RENEW_AT
        return Credential({"Authorization": value}, renew_at)


def _bearer(token: str) -> str:
    """Return the header value. The vendor's client library recognizes a signed token by its three parts."""
    return f"{'SignedBearer' if len(token.split('.')) == _JWT_PARTS else 'Bearer'} {token}"


def _sendable(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and bool(text)


def _check_characters(name: str, settings: AuthSettings) -> None:
    """Refuse at the start what no request could carry."""
    key = f"controllers.{name}.auth"
    for field in ("token", "access_code"):
        secret = getattr(settings, field)
        if secret is not None and not _sendable(secret.get_secret_value()):
            raise ConfigError(f"{key}.{field}: holds blanks or characters that are not ASCII; paste it again")
    if settings.method == "basic" and ":" in (settings.username or ""):
        raise ConfigError(f"{key}.username: basic sign-in allows no colon; use method cookie")
