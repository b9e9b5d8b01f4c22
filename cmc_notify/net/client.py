"""An HTTP client for one server: bounded, without redirects, without repeats of its own."""

import asyncio
import codecs
import io
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from cmc_notify.net.errors import CAUGHT, NetworkError, translate
from cmc_notify.net.proxy import Proxy
from cmc_notify.net.session import Progress, SessionOptions, open_session
from cmc_notify.net.status_line import StatusLineUnread
from cmc_notify.net.tls import client_context
from cmc_notify.settings.base import TlsSettings

LARGE = 2**20
"""Bytes from which aiohttp wants a body piece by piece, so that writing it delays nothing else."""
PATIENCE = 2.0
"""Seconds that a body may take where the status alone decides."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE_STARTS = {b"{\0": "utf-16-le", b"[\0": "utf-16-le", b"\0{": "utf-16-be", b"\0[": "utf-16-be"}
NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


class HttpResponse(Struct, frozen=True):
    """A response of which at least the status line was read."""

    status: int
    headers: CIMultiDictProxy[str] = NO_HEADERS
    body: bytes = b""
    """At most as much as the request asked for."""
    fault: NetworkError | None = None
    """Why headers or body are not whole; None where all that was asked for was read."""

    @property
    def ok(self) -> bool:
        """Return True for 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004  the meaning of 2xx is known

    @property
    def retry_after(self) -> str | None:
        """The header as it came."""
        return self.headers.get("Retry-After")

    @property
    def text(self) -> str:
        """The body by its declared charset, else UTF-8; what can't be decoded becomes U+FFFD."""
        return decode_text(self.body, self.headers.get("Content-Type", ""))


def decode_text(body: bytes, content_type: str = "") -> str:
    """Return the text of ``body`` by a byte order mark, the charset in ``content_type``, else UTF-8."""
    charset = _charset(body, content_type)
    try:
        return body.decode(charset, "replace")
    except (LookupError, ValueError):  # an unknown charset, or a codec that is not for text
        return body.decode("utf-8", "replace")


def as_utf8(body: bytes, content_type: str = "") -> bytes:
    """Return the same text in UTF-8; a body that declares nothing else comes back as it is."""
    if _charset(body, content_type) in {"utf-8", "utf8", "us-ascii", "ascii"}:
        return body
    return decode_text(body, content_type).encode("utf-8", "replace")


def _charset(body: bytes, content_type: str) -> str:
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return charset
    _, _, declared = content_type.lower().partition("charset=")
    named = declared.split(";")[0].strip().strip("\"'")
    if not named and body[:2] in _WIDE_STARTS:  # RFC 4627: JSON shows its encoding by its first two bytes
        return _WIDE_STARTS[body[:2]]
    return named or "utf-8"


class HttpClient:
    """One server, or a few with the same settings. Connections open with the first request.

    Safe to use from several tasks. ``close`` ends all connections; a later request opens new ones.
    """

    def __init__(
        self,
        tls: TlsSettings,
        *,
        timeout: float | None,
        proxy: str | None = None,
        tls_place: str = "tls",
        timeout_key: str = "timeout",
        secrets: Callable[[], Iterable[str]] = tuple,
        plain: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """``timeout`` bounds a whole request, in seconds. ``secrets()`` are masked in every error.

        ``options`` are further fields of :class:`SessionOptions`, such as ``keep``. ``plain`` as for
        :func:`client_context`.
        """
        self.proxy = Proxy.parse(proxy)
        self._tls = tls
        self._place = tls_place
        self._timeout_key = timeout_key
        self._plain = plain
        self._secrets = secrets
        self._options = SessionOptions(timeout=timeout, fingerprint=tls.fingerprint, **(options or {}))
        self._opened: tuple[aiohttp.ClientSession, ssl.SSLContext] | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        read: int = 0,
        read_refusal: int = 2048,
        **content: Any,
    ) -> HttpResponse:
        """Send one request, once, and read its status, headers and the first bytes of its body.

        ``read`` bytes of a success and ``read_refusal`` of anything else are kept; ``content`` may hold
        aiohttp's ``json`` or ``data`` in place of ``body``. A success whose body is longer is cut at
        ``read``, without a fault. ``url`` is sent as it is, but for ``params``.

        Raises NetworkError where not even a status line was read, and ConfigError for TLS files.
        """
        session, context = self._open()
        progress = Progress()
        if body is None and not content:
            content["skip_auto_headers"] = ("Content-Type",)  # aiohttp would name a type for no body
        if body is not None:
            content["data"] = io.BytesIO(body) if len(body) > LARGE else body
        try:
            target = URL(url, encoded=True)
            async with session.request(
                method,
                target.update_query(params) if params else target,
                headers={**(headers or {}), **self._proxy_headers(url)},
                proxy=self.proxy.address,
                proxy_headers=self.proxy.headers if url.startswith("https:") else None,
                ssl=context,
                allow_redirects=False,
                trace_request_ctx=progress,
                **content,
            ) as response:
                size = read if response.ok else read_refusal
                patience = None if response.ok and read else PATIENCE
                found, fault = await self._read(response, size, patience)
                return HttpResponse(response.status, response.headers, found, fault)
        except StatusLineUnread as error:
            return HttpResponse(error.status, fault=self.translate(error, written=True))
        except CAUGHT as error:
            raise self.translate(error, written=progress.written) from _harmless(error)

    def translate(self, error: BaseException, *, written: bool) -> NetworkError:
        """Return ``error`` in words, with this client's time-out, TLS settings and secrets."""
        return translate(
            error,
            written=written,
            timeout=self._options.timeout,
            secrets=(*self._secrets(), *self.proxy.secrets),
            tls_place=self._place,
            timeout_key=self._timeout_key,
        )

    async def close(self) -> None:
        """End all connections."""
        opened, self._opened = self._opened, None
        if opened:
            await opened[0].close()

    @property
    def cookies(self) -> aiohttp.abc.AbstractCookieJar | None:
        """The cookies of the open session; None before the first request."""
        return self._opened[0].cookie_jar if self._opened else None

    def _open(self) -> tuple[aiohttp.ClientSession, ssl.SSLContext]:
        if self._opened is None:
            context = client_context(self._tls, self._place, plain=self._plain)
            self._opened = open_session(self._options), context
        return self._opened

    def _proxy_headers(self, url: str) -> Mapping[str, str]:
        """On plain HTTP the proxy reads the request itself; over TLS it reads only CONNECT."""
        return self.proxy.headers if urlsplit(url).scheme == "http" else {}

    async def _read(
        self, response: aiohttp.ClientResponse, size: int, patience: float | None
    ) -> tuple[bytes, NetworkError | None]:
        """Return what can be read of the body, and why it is not whole.

        The status is known by now, so a body that breaks off changes nothing of what was accepted.
        """
        found: list[bytes] = []
        left = size
        try:
            async with asyncio.timeout(patience):
                while left > 0 and (piece := await response.content.read(left)):
                    found.append(piece)
                    left -= len(piece)
        except CAUGHT as error:
            response.close()
            return b"".join(found), self.translate(error, written=True)
        return b"".join(found), None


def _harmless(error: BaseException) -> BaseException | None:
    """Return the operating system's error: aiohttp's own hold request headers, so credentials."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return None if isinstance(error, aiohttp.ClientError) else error
