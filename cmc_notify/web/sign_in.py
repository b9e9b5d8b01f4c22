"""``/login`` and ``/logout``: people sign in with a token, and have a session on every replica.

The cookie holds a random id; the store has its digest alone. Nothing changes without a POST from one of our
own pages, so that no other site can sign somebody in or out. A link with a code signs in once, by its button.
"""

import secrets
import time
from urllib.parse import parse_qs

import structlog
from aiohttp import hdrs, web

from cmc_notify.core.access import (
    SESSION_LASTS,
    Right,
    Session,
    Visitor,
    Way,
    digest_of,
    from_own_page,
    local_path,
)
from cmc_notify.core.throttle import LineLimit
from cmc_notify.errors import StoreError
from cmc_notify.ports import Clock, Sessions
from cmc_notify.web.bodies import read_body
from cmc_notify.web.page_templates import Templates
from cmc_notify.web.responses import refuse
from cmc_notify.web.visitors import Throttled, Visitors

MAX_FORM = 8192
"""Bytes of a form."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class SignIn:
    """Serves ``/login`` and ``/logout``."""

    def __init__(
        self, visitors: Visitors, sessions: Sessions, templates: Templates, clock: Clock = time.time
    ) -> None:
        self._visitors = visitors
        self._sessions = sessions
        self._templates = templates
        self._clock = clock
        self._lines = LineLimit()

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Return the form; with ``?code=`` a button that signs in once. Changes nothing."""
        code = request.query.get("code", "")
        visitor = await self._visitor(request)
        if visitor is not None and visitor.way is Way.SESSION and (code or "next" in request.query):
            return _go_to(local_path(request.query.get("next")))
        return self._page(request, 200, "", code=code, visitor=visitor)

    async def show_instead(self, request: web.Request, status: int, why: str) -> web.StreamResponse:
        """Return the form in place of a page that the visitor may not read; it leads back there."""
        return self._page(request, status, why, back=local_path(request.raw_path))

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Begin a session with the token or the code of the form."""
        form = await self._form(request)
        back = form.get("next", "/")
        try:
            who, token = await self._shown(request, form)
        except Throttled as error:
            response = self._page(request, 429, str(error), back=back)
            response.headers[hdrs.RETRY_AFTER] = str(error.wait)
            return response
        if who is None:
            if admitted := self._lines.admit(time.monotonic()):
                log.warning(
                    "web.sign_in_refused",
                    address=self._visitors.address(request),
                    **({"lines_left_out": admitted.left_out} if admitted.left_out else {}),
                )
            wrong = (
                "This link was used already or has ended." if "code" in form else "This is not a valid token."
            )
            return self._page(request, 401, wrong, back=back)
        response = _go_to(local_path(back))
        await self._begin(request, response, who, token)
        return response

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        """End the session, for every replica."""
        await self._form(request)
        visitor = await self._visitor(request)
        if visitor is not None and visitor.session is not None:
            await self._sessions.end([visitor.session])
            log.info("session.ended", name=visitor.name, address=self._visitors.address(request))
        response = _go_to("/login")
        response.del_cookie(self._visitors.cookie, path="/", secure=self._visitors.secure, httponly=True)
        return response

    async def _visitor(self, request: web.Request) -> Visitor | None:
        try:
            return await self._visitors.visitor(request)
        except (Throttled, StoreError):
            return None

    async def _form(self, request: web.Request) -> dict[str, str]:
        """Return the fields of a form that one of our own pages sent."""
        headers = request.headers
        origins, sites = headers.getall(hdrs.ORIGIN, []), headers.getall("Sec-Fetch-Site", [])
        if not from_own_page(origins, sites, self._visitors.origin(request)):
            raise web.HTTPForbidden(
                text="this form does not come from a page of this bridge; open /login and try again"
                " (http.external_url must be the address that people use)"
            )
        if request.content_type != "application/x-www-form-urlencoded":
            raise web.HTTPUnsupportedMediaType(text="send a form; programs send the token as Bearer")
        try:
            fields = parse_qs((await read_body(request, most=MAX_FORM)).decode("utf-8"), max_num_fields=10)
        except ValueError as error:
            raise web.HTTPBadRequest(text="the form can't be read") from error
        return {name: values[0].strip() for name, values in fields.items()}

    async def _shown(self, request: web.Request, form: dict[str, str]) -> tuple[Visitor | None, str]:
        """Return who the form shows, and the digest of the token."""
        if "code" in form:
            code = await self._sessions.redeem(digest_of(form["code"]), now=self._clock())
            return (Visitor(code.name, Way.SESSION, code.right), code.token) if code else (None, "")
        text = form.get("token", "")
        return (self._visitors.check_token(request, text, Way.SESSION) if text else None), digest_of(text)

    async def _begin(
        self, request: web.Request, response: web.StreamResponse, who: Visitor, token: str
    ) -> None:
        cookie, now = secrets.token_urlsafe(32), self._clock()
        address = self._visitors.address(request)
        session = Session(
            id=digest_of(cookie),
            name=who.name,
            right=Right(who.right),
            began_at=now,
            ends_at=now + SESSION_LASTS,
            token=token,
            address=address,
        )
        await self._sessions.begin(session, now=now)
        log.info("session.began", name=who.name, right=who.right.value, address=address)
        response.set_cookie(
            self._visitors.cookie,
            cookie,
            max_age=int(SESSION_LASTS),
            path="/",
            secure=self._visitors.secure,
            httponly=True,
            samesite="Lax",
        )

    def _page(
        self,
        request: web.Request,
        status: int,
        problem: str,
        *,
        back: str | None = None,
        code: str = "",
        visitor: Visitor | None = None,
    ) -> web.Response:
        rules = self._visitors.rules
        if not rules.tokens and rules.proxy is None:
            return refuse(request, 403, "Nobody can sign in: set http.token_file (or http.tokens)")
        page = self._templates.render(
            "login.html.j2",
            problem=problem.strip(),
            back=local_path(back if back is not None else request.query.get("next")),
            code=code,
            signed_in=visitor,
            top=to_top(request),
        )
        return web.Response(
            status=status,
            body=b"".join(page),
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": self._templates.policy},
        )


def to_top(request: web.Request) -> str:
    """Return the relative address of the first page, whatever path a proxy in front takes away."""
    depth = request.raw_path.partition("?")[0].count("/") - 1
    return "../" * depth or "./"


def _go_to(path: str) -> web.Response:
    """Return a redirect from ``/login`` or ``/logout``, relative for the same reason."""
    return web.Response(status=303, headers={hdrs.LOCATION: f".{path}"})
