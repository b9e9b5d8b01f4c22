"""Who sent a request: a program with a token, a person with a session or named by a proxy, a link, or nobody.

What a request shows is judged in this order, and the first that it shows decides: a Bearer token, a proxy's
person, a session, a token as Basic password; then the link; last, where nothing is guarded, this machine.
Wrong tokens are throttled per address.

A request counts as local only if all of this is true: nothing is guarded, the request comes from loopback,
its host name is a loopback name (a web page whose name was rebound to 127.0.0.1 has another one), and nothing
shows that a proxy sent it.
"""

import binascii
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from math import ceil

from aiohttp import hdrs, web

from cmc_notify.core.access import (
    AccessRules,
    Right,
    Visitor,
    Way,
    digest_of,
    is_loopback,
    network_of,
    parsed_address,
)
from cmc_notify.core.links import Links
from cmc_notify.core.throttle import Throttle
from cmc_notify.ports import Clock, Sessions

EVENT_ROUTE = "event"
"""The name of the only route that a signed link opens."""
PROXY_SECRET = "X-Proxy-Secret"  # noqa: S105  the name of a header
_PROXY = frozenset({"forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip"})
_MAX_FORWARDED = 20

Rules = Callable[[], AccessRules]
LinksNow = Callable[[], Awaitable[Links]]


class Throttled(Exception):
    """Too many wrong tokens came from this address; ``wait`` is in whole seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"too many wrong tokens from your address; try again in {ceil(wait)} s")
        self.wait = ceil(wait)


class Visitors:
    """Recognises visitors. ``rules`` and ``links`` are called each time, since they can be replaced.

    ``cookie`` is the name of the session's cookie; without ``sessions`` nobody has one.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        links: LinksNow | None = None,
        sessions: Sessions | None = None,
        cookie: str = "cmc-notify",
        clock: Clock = time.time,
    ) -> None:
        self._rules = rules
        self._links = links
        self._sessions = sessions
        self._cookie = cookie
        self._clock = clock
        self._wrong = Throttle()

    @property
    def rules(self) -> AccessRules:
        """Return the rules of now."""
        return self._rules()

    @property
    def cookie(self) -> str:
        """Return the cookie's name: where people use https, one that no other host can set."""
        return f"__Host-{self._cookie}" if self.secure else self._cookie

    @property
    def secure(self) -> bool:
        """Return True if people reach the pages by https."""
        return (self.rules.origin or "").startswith("https:")

    def origin(self, request: web.Request) -> str:
        """Return the origin of our own pages, as this request's sender sees them."""
        return self.rules.origin or f"http://{request.host.lower()}"

    def address(self, request: web.Request) -> str:
        """Return where a request comes from; for a trusted proxy, what it says of its client."""
        peer, proxy = request.remote or "", self.rules.proxy
        if proxy is None or not proxy.trusts(peer):
            return peer
        listed = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")[-_MAX_FORWARDED:]
        for each in reversed(listed):  # the nearest first: what stands before it, anybody may have written
            found = parsed_address(each.strip())
            if found is None:
                break
            peer = str(found)
            if not proxy.trusts(peer):
                break
        return peer

    async def visitor(self, request: web.Request) -> Visitor | None:
        """Return who sent it; None for nobody known. Raises Throttled, StoreError."""
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        if (bearer := _bearer(authorization)) is not None and self.rules.tokens:
            return self.check_token(request, bearer, Way.BEARER)
        found = self._named_by_proxy(request) or await self._session(request)
        if found is None and self.rules.tokens and (password := _password(authorization)) is not None:
            found = self.check_token(request, password, Way.BASIC)
        return found or await self._linked(request) or self._local(request)

    def check_token(self, request: web.Request, text: str, way: Way) -> Visitor | None:
        """Return whose token it is. Raises Throttled after too many wrong ones."""
        address = network_of(self.address(request))
        now = time.monotonic()
        if wait := self._wrong.wait(address, now):
            raise Throttled(wait)
        token = self.rules.token(text, self._clock())
        if token is None:
            self._wrong.count(address, now)
            return None
        return Visitor(token.name, way, token.right)

    def _named_by_proxy(self, request: web.Request) -> Visitor | None:
        proxy = self.rules.proxy
        if proxy is None or not proxy.trusts(request.remote or ""):
            return None
        headers = request.headers
        return proxy.visitor(headers.getall(proxy.user_header, []), headers.getall(PROXY_SECRET, []))

    async def _session(self, request: web.Request) -> Visitor | None:
        value = request.cookies.get(self.cookie)
        if not value or self._sessions is None or not self.rules.tokens:
            return None
        found = await self._sessions.find(digest_of(value))
        right = self.rules.session_right(found, self._clock()) if found else None
        return Visitor(found.name, Way.SESSION, right, session=found.id) if found and right else None

    async def _linked(self, request: web.Request) -> Visitor | None:
        if self._links is None or request.match_info.route.name != EVENT_ROUTE:
            return None
        given = {name: request.query.getall(name, []) for name in ("expires", "signature", "for")}
        if len(given["expires"]) != 1 or len(given["signature"]) != 1 or len(given["for"]) > 1:
            return None
        links, delivery = await self._links(), "".join(given["for"])
        opens = links.verify(
            request.match_info["event_id"],
            given["expires"][0],
            given["signature"][0],
            self._clock(),
            delivery=delivery,
        )
        return Visitor("link", Way.LINK, Right.READ, delivery=delivery or None) if opens else None

    def _local(self, request: web.Request) -> Visitor | None:
        if self.rules.guarded or not _is_direct(request):
            return None
        return Visitor("local", Way.LOCAL, Right.READ)


def _is_direct(request: web.Request) -> bool:
    """Return True if a client on this machine sent it to a loopback name, without a proxy in between.

    By default old nginx adds no header, but it uses HTTP/1.0 to the server behind it.
    """
    if request.version < (1, 1):
        return False
    if any(name.lower() in _PROXY or name.lower().startswith("x-forwarded") for name in request.headers):
        return False
    host = request.headers.getall(hdrs.HOST, [])
    return len(host) == 1 and is_loopback(request.remote) and is_loopback(_without_port(host[0]))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _password(authorization: str) -> str | None:
    """Return the password that was sent as Basic, with any user name."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(value.strip(), validate=True).partition(b":")[2].decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return ""


def _bearer(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None
