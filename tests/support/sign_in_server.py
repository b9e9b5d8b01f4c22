"""A controller that knows how its client must sign in."""

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

from cmc_notify.controller import Controller
from cmc_notify.settings.controller import ControllerSettings

ACCESS_CODE = {"method": "access_code", "access_code": "code-of-the-bridge"}
COOKIE = {"method": "cookie", "username": "bridge", "password": "pass-word"}
BASIC = {"method": "basic", "username": "bridge", "password": "pass-wörd"}


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


def client(cmc: SignInServer, auth: dict[str, Any], clock: list[float] | None = None) -> Controller:
    """A client that signs in this way; ``clock`` holds the time that it sees."""
    settings = ControllerSettings.model_validate({"url": cmc.url, "auth": auth})
    return Controller("emea", settings, clock=lambda: clock[0] if clock else 0.0)
