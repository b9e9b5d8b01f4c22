"""The access rules: the token allows reads and changes; this machine may read without it.

A signed link opens one page and nothing else.

Requests from Slack are accepted only by one route (``signed``), and are checked by the app's signature.

A request counts as local only if all of this is true: the server listens on loopback, the request comes from
loopback, its host name is a loopback name (a web page whose name was rebound to 127.0.0.1 has another one),
and nothing shows that a proxy sent it. All other requests need the token, as Bearer or as the Basic password.

A change always needs the token as Bearer, from this machine too. Basic is not sufficient: a browser adds it
to every request that any web page makes (CSRF). No page can add a Bearer header to a request to us, since the
browser asks first (CORS) and gets no permission. Our own pages change nothing, so a request that names the
page it comes from (``Origin``) is also refused.
"""

import binascii
import hmac
import ipaddress
import time
from base64 import b64decode
from collections.abc import Callable

import structlog
from aiohttp import hdrs, web
from pydantic import SecretStr

from cmc_notify.core.links import Links
from cmc_notify.errors import ConfigError
from cmc_notify.ports import Clock
from cmc_notify.web.responses import Handler, refuse

PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})
EVENT_ROUTE = "event"
"""The name of the only route that a signed link opens."""
SIGNED_ROUTE = "signed"
"""The name of the route whose requests carry a signature, which the handler verifies."""

_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_PROXY = frozenset({"forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip"})

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def is_loopback(host: str | None) -> bool:
    """Return True if a host (an address, or ``localhost``) can only be this machine."""
    if not host:
        return False
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class Access:
    """Decides about each request. ``token`` is called each time, since a reload can replace the token.

    Without ``links`` no link opens a page. Raises ConfigError if the address needs a token and there is none.
    """

    def __init__(
        self,
        token: Callable[[], SecretStr | None],
        listen_host: str,
        links: Links | None,
        clock: Clock = time.time,
    ) -> None:
        self._local = is_loopback(listen_host)
        self._token_now = token
        self._links = links
        self._clock = clock
        if not self._local and not self._token:
            raise ConfigError(
                f"http.listen: {listen_host!r} can be reached from other machines, so reads need a token;"
                " set http.token_file (or http.token), or listen on 127.0.0.1"
            )

    def may_read(self, request: web.Request) -> bool:
        """Return True if this request may read everything."""
        return (self._local and _is_direct(request)) or self._has_token(request)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let allowed requests pass; refuse the others with a text that says what to do."""
        if request.match_info.route.name == SIGNED_ROUTE:
            return await handler(request)
        if _is_change(request):
            return await handler(request) if self._may_change(request) else self._refuse_change(request)
        if request.path in PUBLIC_PATHS or self.may_read(request) or self._has_link(request):
            return await handler(request)
        log.info("web.read_refused", path=request.path, remote=request.remote)
        why = "this link has expired or was changed. " if "signature" in request.query else ""
        if not self._token:
            return refuse(
                request,
                403,
                f"{why}Without a token, reads are allowed only from this machine, by a loopback address and"
                " without a proxy. To read from elsewhere, set http.token_file",
            )
        return refuse(
            request,
            401,
            f"{why}Sign in: send the token as Bearer, or as the password with any user name",
            {hdrs.WWW_AUTHENTICATE: 'Basic realm="cmc-notify", charset="UTF-8"'},
        )

    def _may_change(self, request: web.Request) -> bool:
        return hdrs.ORIGIN not in request.headers and self._has_token(request, as_bearer=True)

    def _refuse_change(self, request: web.Request) -> web.Response:
        log.info("web.change_refused", path=request.path, method=request.method, remote=request.remote)
        if hdrs.ORIGIN in request.headers:
            return refuse(request, 403, "Web pages can't change anything: use the command line or a program")
        if not self._token:
            return refuse(
                request,
                403,
                "A change always needs a token: set http.token_file (or http.token)",
            )
        return refuse(
            request,
            401,
            "A change needs the token as Bearer: send Authorization: Bearer …",
            {hdrs.WWW_AUTHENTICATE: 'Bearer realm="cmc-notify"'},
        )

    @property
    def _token(self) -> bytes:
        token = self._token_now()
        return token.get_secret_value().encode() if token else b""

    def _has_link(self, request: web.Request) -> bool:
        if self._links is None or request.match_info.route.name != EVENT_ROUTE:
            return False
        expires, signature = (request.query.getall(name, []) for name in ("expires", "signature"))
        if len(expires) != 1 or len(signature) != 1:
            return False
        return self._links.verify(request.match_info["event_id"], expires[0], signature[0], self._clock())

    def _has_token(self, request: web.Request, *, as_bearer: bool = False) -> bool:
        if not (token := self._token):
            return False
        given = (_bearer if as_bearer else _token_of)(request.headers.get(hdrs.AUTHORIZATION, ""))
        return given is not None and hmac.compare_digest(given, token)


def _is_change(request: web.Request) -> bool:
    """Return True if the request would change something, at a path that exists."""
    return request.method not in _READS and request.match_info.http_exception is None


def _is_direct(request: web.Request) -> bool:
    """Return True if a client on this machine sent it to a loopback name, without a proxy in between.

    By default nginx adds no header, but it uses HTTP/1.0 to the server behind it.
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


def _token_of(authorization: str) -> bytes | None:
    """Return the token sent as Bearer or as the Basic password."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return _bearer(authorization)
    try:
        return b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return None


def _bearer(authorization: str) -> bytes | None:
    scheme, _, value = authorization.partition(" ")
    return value.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else None
