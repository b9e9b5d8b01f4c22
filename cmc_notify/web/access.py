"""The access rules of every request: who may read it, who may change something, and what a refusal says.

``Visitors`` knows who sent a request; the rules themselves are in ``core.access``. Requests from Slack are
accepted only by one route (``signed``), and are checked by the app's signature. Health checks and the sign-in
need nothing.
"""

import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import hdrs, web

from cmc_notify.core.access import Visitor, Way, change_refusal
from cmc_notify.core.throttle import LineLimit
from cmc_notify.errors import StoreError
from cmc_notify.web.responses import Handler, refuse
from cmc_notify.web.visitors import Throttled, Visitors

PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})
SIGN_IN_PATHS = frozenset({"/login", "/logout"})
"""They decide for themselves."""
SIGNED_ROUTE = "signed"
"""The name of the route whose requests carry a signature, which the handler verifies."""
VISITOR = web.RequestKey("visitor", Visitor)
"""Who sent a request that the guard let through."""

_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_MAX_PATH = 200
_BEARER: Mapping[str, str] = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="cmc-notify"'}

SignInPage = Callable[[web.Request, int, str], Awaitable[web.StreamResponse]]
OnRefused = Callable[[web.Request, Visitor | None, str], Awaitable[None]]

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Access:
    """Decides about each request. ``sign_in_page`` answers a browser that may not read; None: a line of text.

    ``on_refused`` is called for each change that was refused.
    """

    def __init__(
        self,
        visitors: Visitors,
        *,
        sign_in_page: SignInPage | None = None,
        on_refused: OnRefused | None = None,
    ) -> None:
        self._visitors = visitors
        self._sign_in_page = sign_in_page
        self._on_refused = on_refused
        self._lines = LineLimit()

    async def may_read(self, request: web.Request) -> bool:
        """Return True if this request may read everything; False too while the store can't say."""
        try:
            visitor = await self._visitors.visitor(request)
        except (Throttled, StoreError):
            return False
        return visitor is not None and visitor.way is not Way.LINK

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let allowed requests pass; refuse the others with a text that says what to do."""
        if request.match_info.route.name == SIGNED_ROUTE or request.path in SIGN_IN_PATHS | (
            PUBLIC_PATHS if request.method in _READS else frozenset()
        ):
            return await handler(request)
        try:
            visitor = await self._visitors.visitor(request)
        except Throttled as error:
            self._log("web.throttled", request)
            return refuse(request, 429, str(error), {hdrs.RETRY_AFTER: str(error.wait)})
        if visitor is not None:
            request[VISITOR] = visitor
        if _is_change(request):
            return await self._change(request, visitor, handler)
        if visitor is None:
            return await self._refuse_read(request)
        if visitor.way is Way.BEARER and hdrs.ORIGIN in request.headers:
            self._log("web.read_refused", request)
            return refuse(request, 403, "A web page can't use a token: sign in at /login instead")
        return await handler(request)

    async def _change(
        self, request: web.Request, visitor: Visitor | None, handler: Handler
    ) -> web.StreamResponse:
        status, reason = self._change_refusal(request, visitor)
        if status is None:
            return await handler(request)
        self._log("web.change_refused", request)
        if self._on_refused:
            await self._on_refused(request, visitor, reason)
        challenge = _BEARER if status == web.HTTPUnauthorized.status_code else None
        return refuse(request, status, reason, challenge)

    def _change_refusal(self, request: web.Request, visitor: Visitor | None) -> tuple[int | None, str]:
        """Return the status and the reason of a refusal; no status for a change that may be made."""
        rules = self._visitors.rules
        if visitor is None or visitor.way in (Way.LOCAL, Way.LINK, Way.BASIC):
            if hdrs.ORIGIN in request.headers and (visitor is None or visitor.way is not Way.BASIC):
                return 403, "This page is not signed in, so it can't change anything; sign in at /login"
            if not rules.tokens and rules.proxy is None:
                return 403, "A change always needs a token: set http.token_file (or http.tokens)"
            return (
                401,
                "A change needs a token that may act: send Authorization: Bearer …, or sign in at /login",
            )
        if not visitor.may_act:
            return 403, f"{visitor.name} may only read: use a token with may: act"
        headers = {name: request.headers.getall(name, []) for name in ("Origin", "Sec-Fetch-Site")}
        refused = change_refusal(visitor, headers, self._visitors.origin(request))
        return (None, "") if refused is None else (403, refused[:1].upper() + refused[1:])

    async def _refuse_read(self, request: web.Request) -> web.StreamResponse:
        self._log("web.read_refused", request)
        rules = self._visitors.rules
        why = "this link has expired, was ended or was changed. " if "signature" in request.query else ""
        if not rules.tokens and rules.proxy is None:
            return refuse(
                request,
                403,
                f"{why}Without a token, reads are allowed only from this machine, by a loopback address,"
                " without a proxy, and while http.external_url names no other machine. To read from"
                " elsewhere, set http.token_file",
            )
        if self._sign_in_page and _is_browser(request):
            return await self._sign_in_page(request, 401, why)
        return refuse(request, 401, f"{why}Sign in at /login, or send the token as Bearer", _BEARER)

    def _log(self, event: str, request: web.Request) -> None:
        """Write a line, but few in a minute: everybody who can reach the address can be refused."""
        if admitted := self._lines.admit(time.monotonic()):
            log.info(
                event,
                path=request.path[:_MAX_PATH],
                method=request.method[:_MAX_PATH],
                address=self._visitors.address(request),
                **({"lines_left_out": admitted.left_out} if admitted.left_out else {}),
            )


def _is_change(request: web.Request) -> bool:
    """Return True if the request would change something, at a path that exists."""
    return request.method not in _READS and request.match_info.http_exception is None


def _is_browser(request: web.Request) -> bool:
    return request.method in _READS and "text/html" in request.headers.get(hdrs.ACCEPT, "")
