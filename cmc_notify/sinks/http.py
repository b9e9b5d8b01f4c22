"""The HTTP client of the sinks: TLS as configured, no redirects, no cookies, no retries.

Guarantee: whatever goes wrong, the caller learns whether the request may have reached the receiver
(``RequestProgress.written``). Only the outbox sends anything twice.
"""

import asyncio
import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
from msgspec import Struct
from yarl import URL

from cmc_notify.errors import ConfigError
from cmc_notify.settings.base import TlsSettings

_STREAMED_FROM = 2**20
"""Bytes. A larger body goes to aiohttp in pieces, so that writing it does not block the loop."""
_REFUSAL_BYTES = 2048
"""Bytes of a refusal's body that are read, for its reason."""
_BODY_TIMEOUT = 2.0
"""Seconds to wait for the body of a refusal."""


@dataclass
class RequestProgress:
    """Records whether any of the request was written. Pass it as ``trace_request_ctx``."""

    written: bool = False


def ssl_context(tls: TlsSettings) -> ssl.SSLContext:
    """Return a client's TLS context. With a pinned fingerprint the chain is not checked.

    Reads the files. Raises ConfigError, which names the file that can't be used.
    """
    setting = "tls.ca_file"
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        setting = "tls.cert_file"
        if tls.cert_file:
            # Without a password OpenSSL asks for one on the terminal and waits for ever.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    except (OSError, ValueError) as error:
        reason = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{setting}: can't be used: {reason}; it must be a readable PEM file") from error
    if tls.fingerprint is not None or not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class HttpResponse(Struct, frozen=True):
    """A response. ``text`` is the beginning of its body; after success only if ``read`` asked for it."""

    status: int
    retry_after: str | None
    text: str


class HttpClient:
    """Sends a sink's requests. Connections open with the first request; ``close`` ends them.

    Connections are not kept between requests: messages are rare, and a connection that closed while idle
    would leave it unclear whether the next request arrived.
    """

    def __init__(self, tls: TlsSettings, *, timeout: float, proxy: str | None = None) -> None:
        """``timeout`` bounds a whole request, in seconds."""
        self._tls = tls
        self._timeout = timeout
        self._proxy = proxy
        self._open: tuple[aiohttp.ClientSession, ssl.SSLContext] | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        progress: RequestProgress,
        read: int = 0,
    ) -> HttpResponse:
        """Send one request. After success, read the first ``read`` bytes of the body.

        Raises ConfigError for TLS files, and otherwise what aiohttp raises.
        """
        session, context = self._open = self._open or self._connect()
        # The context goes here and the pin to the connector: only then does aiohttp obey both.
        async with session.request(
            method,
            URL(url, encoded=True),
            data=io.BytesIO(body) if body is not None and len(body) > _STREAMED_FROM else body,
            headers=headers,
            proxy=self._proxy,
            ssl=context,
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as response:
            text = await _read_success(response, read) if response.ok else await _read_refusal(response)
            return HttpResponse(response.status, response.headers.get("Retry-After"), text)

    async def close(self) -> None:
        """End all connections; a later request opens new ones."""
        if self._open:
            session, self._open = self._open[0], None
            await session.close()

    def _connect(self) -> tuple[aiohttp.ClientSession, ssl.SSLContext]:
        context = ssl_context(self._tls)
        pin = self._tls.fingerprint
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=True if pin is None else aiohttp.Fingerprint(pin), force_close=True
            ),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_trace_writing()],
            middlewares=(_never_repeat,),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        )
        return session, context


async def _read_success(response: aiohttp.ClientResponse, size: int) -> str:
    """Return the body of a success. Nobody knows what was created without it, so its loss is an error."""
    found = bytearray()
    while len(found) < size and (piece := await response.content.read(size - len(found))):
        found += piece
    return found.decode("utf-8", "resetting")


async def _read_refusal(response: aiohttp.ClientResponse) -> str:
    """Return what arrives of a refusal's body in time. The status is known, so a loss changes nothing."""
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            return (await response.content.read(_REFUSAL_BYTES)).decode("utf-8", "resetting")
    except (aiohttp.ClientError, OSError):
        return ""


def _trace_writing() -> aiohttp.TraceConfig:
    async def wrote(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        progress = context.trace_request_ctx
        if isinstance(progress, RequestProgress):
            progress.written = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(wrote)
    return trace


async def _never_repeat(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn a lost connection into an error after which aiohttp does not send a PUT again by itself."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error
