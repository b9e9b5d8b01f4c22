"""The controller's sign-in: basic, cookie and access code, as the vendor's sign-in page describes.

A test can expire or revoke tokens and sessions, or refuse all credentials, at any moment. Lifetimes are real
seconds, because the caller's clock counts them.
"""

import base64
import binascii
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

COOKIE = "session_id"


@dataclass(frozen=True, kw_only=True)
class Auth:
    """The credentials that the simulated controller accepts, and the form of its responses."""

    required: bool = True
    """False: every resource is open to everybody."""
    methods: tuple[str, ...] = ("BASIC", "COOKIE", "OAUTH2.0")
    username: str = "monitor"
    password: str = "simulated-password"  # noqa: S105  no secret: it opens nothing but the simulation
    access_code: str = "simulated-access-code"
    lifetime: float = 3600.0
    """Real seconds that a token or session lives."""
    send_expires_in: bool = True
    """True: the token response has ``expires_in``."""
    signed_tokens: bool = False
    """Tokens have three parts and must come as ``SignedBearer``."""
    wrong_state: bool = False
    """The token response has a state that nobody sent (an attack that a client must refuse)."""


OPEN = Auth(required=False)
"""No sign-in."""


class Refused(Exception):
    """A request is refused; ``error_id`` and ``status`` go into the controller's response."""

    def __init__(self, error_id: str, text: str, status: int = 401) -> None:
        super().__init__(text)
        self.error_id = error_id
        self.status = status


class SignIn:
    """Issues tokens and sessions, checks requests, and can fail in many ways."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.count = 0
        """Tokens and sessions issued so far."""
        self.refusing = False
        """While True every credential, token and session is refused."""
        self._issued: dict[str, float] = {}

    def expire_tokens(self) -> None:
        """Expire every token and session issued so far (AUTH_EXPIRED_TOKEN)."""
        self._issued = dict.fromkeys(self._issued, 0.0)

    def revoke_tokens(self) -> None:
        """Forget every token and session issued so far (AUTH_INVALID_SESSION)."""
        self._issued.clear()

    def refuse_all(self) -> None:
        """Refuse all credentials from now on, and revoke all tokens and sessions."""
        self.refusing = True
        self.revoke_tokens()

    def accept(self) -> None:
        """Undo :meth:`refuse_all`."""
        self.refusing = False

    def auth_info(self) -> dict[str, object]:
        """Return the ``auth_info`` document."""
        return {"supported_methods": list(self.auth.methods), "specific_info": {}}

    def token(self, form: Mapping[str, object]) -> dict[str, object]:
        """Return the response to a token request. Raises Refused."""
        self._offers("OAUTH2.0", "OAUTH_2_0")
        if form.get("grant_type") != "access_code" or not form.get("state"):
            raise Refused("OAUTH_INVALID_REQUEST", "grant_type and state are required", 400)
        if self.refusing or _assertion_code(str(form.get("assertion", ""))) != self.auth.access_code:
            raise Refused("AUTH_INVALID_CREDENTIALS", "The access code is not valid")
        token = self._issue()
        response: dict[str, object] = {"access_token": token, "token_type": "bearer", "state": form["state"]}
        if self.auth.wrong_state:
            response["state"] = "forged"
        if self.auth.send_expires_in:
            response["expires_in"] = max(1, int(self.auth.lifetime))
        return response

    def login(self, document: object) -> str:
        """Return a new session's id for a login request. Raises Refused."""
        self._offers("COOKIE")
        wanted = {"username": self.auth.username, "password": self.auth.password}
        given = document if isinstance(document, dict) else {}
        if self.refusing or {name: given.get(name) for name in wanted} != wanted:
            raise Refused("AUTH_INVALID_CREDENTIALS", "The user name or password is not valid")
        return self._issue()

    def check(self, request: web.Request) -> None:
        """Check a request. Raises Refused."""
        if not self.auth.required and not self.refusing:
            return
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        session = request.cookies.get(COOKIE)
        if scheme in ("Bearer", "SignedBearer"):
            if (scheme == "SignedBearer") != (credentials.count(".") == 2):  # noqa: PLR2004  header.body.signature
                raise Refused("AUTH_INVALID_SESSION", "The token has the wrong form")
            self._valid(credentials)
        elif scheme == "Basic":
            self._offers("BASIC")
            if self.refusing or _basic(credentials) != (self.auth.username, self.auth.password):
                raise Refused("AUTH_INVALID_CREDENTIALS", "The user name or password is not valid")
        elif session is not None:
            self._valid(session)
        else:
            raise Refused("AUTH_REQUIRED", "Authentication is required")

    def _offers(self, *names: str) -> None:
        if not set(names) & set(self.auth.methods):
            raise Refused("AUTH_INVALID_CREDENTIALS", "This sign-in method is turned off")

    def _issue(self) -> str:
        self.count += 1
        token = secrets.token_hex(20)
        if self.auth.signed_tokens:
            token = f"{token}.{secrets.token_hex(8)}.{secrets.token_hex(8)}"
        self._issued[token] = time.monotonic() + self.auth.lifetime
        return token

    def _valid(self, token: str) -> None:
        until = self._issued.get(token)
        if until is None or self.refusing:
            raise Refused("AUTH_INVALID_SESSION", "The session is not known")
        if until <= time.monotonic():
            raise Refused("AUTH_EXPIRED_TOKEN", "The token has expired")


def _assertion_code(assertion: str) -> str | None:
    """Return the access code in ``<base64url header>.<access code>.``; None if the form is wrong."""
    header, _, rest = assertion.partition(".")
    code, _, end = rest.rpartition(".")
    try:
        alg = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError):
        return None
    return code if alg == {"alg": "none"} and not end else None


def _basic(credentials: str) -> tuple[str, str] | None:
    try:
        name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return name, password
