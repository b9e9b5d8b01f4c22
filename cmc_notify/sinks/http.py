"""One way to speak HTTP for sinks: TLS as configured, no redirects, no cookies, no repeats of its own.

Guarantee: whatever goes wrong, the caller learns whether the request may have reached the other side
(``Contact.written``). Only the outbox sends anything twice.
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

_LARGE = 2**20
"""Bytes from which aiohttp wants a body piece by piece, so that writing it holds up nothing else."""
_READ = 2048
"""Bytes of a refusal that are of use to a reader."""
_PATIENCE = 2.0


@dataclass
class Contact:
    """Pass it as ``trace_request_ctx``: it learns whether anything of the request was written."""

    written: bool = False


def ssl_context(tls: TlsSettings) -> ssl.SSLContext:
    """A client's context. With a pinned fingerprint the chain is not checked: the pin is the proof.

    Reads the files; raises ConfigError naming the one that can't be used.
    """
    place = "tls.ca_file"
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        place = "tls.cert_file"
        if tls.cert_file:
            # Without a password of ours OpenSSL would ask for one on the terminal and wait for ever.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    except (OSError, ValueError) as error:
        reason = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{place}: can't be used: {reason}; it must be a readable PEM file") from error
    if tls.fingerprint is not None or not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Answer(Struct, frozen=True):
    """What the other side said. ``text`` is its beginning; after success only where it was asked for."""

    status: int
    retry_after: str | None
    text: str


class HttpClient:
    """A sink's way out. Its connections open with the first request; ``close`` ends them.

    Connections are not kept between requests: messages are rare, and one that was closed while idle would
    leave it unclear whether the next request arrived.
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
        contact: Contact,
        read: int = 0,
    ) -> Answer:
        """One request and its answer, with the first ``read`` bytes of what it says after success.

        Raises ConfigError for TLS files, else what aiohttp raises.
        """
        session, context = self._open = self._open or self._connect()
        # The context is given here, the pin to the connector: only so does aiohttp heed both.
        async with session.request(
            method,
            URL(url, encoded=True),
            data=io.BytesIO(body) if body is not None and len(body) > _LARGE else body,
            headers=headers,
            proxy=self._proxy,
            ssl=context,
            allow_redirects=False,
            trace_request_ctx=contact,
        ) as response:
            text = await _content(response, read) if response.ok else await _beginning(response)
            return Answer(response.status, response.headers.get("Retry-After"), text)

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
            trace_configs=[_watch_writing()],
            middlewares=(_never_repeat,),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        )
        return session, context


async def _content(response: aiohttp.ClientResponse, size: int) -> str:
    """What was answered with success: without it nobody knows what was made, so its loss is an error."""
    found = bytearray()
    while len(found) < size and (piece := await response.content.read(size - len(found))):
        found += piece
    return found.decode("utf-8", "replace")


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """What can be had of the answer's body at once: the status is known, so its loss changes nothing."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return (await response.content.read(_READ)).decode("utf-8", "replace")
    except (aiohttp.ClientError, OSError):
        return ""


def _watch_writing() -> aiohttp.TraceConfig:
    async def wrote(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        contact = context.trace_request_ctx
        if isinstance(contact, Contact):
            contact.written = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(wrote)
    return trace


async def _never_repeat(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Shows a lost connection as an error after which aiohttp does not send a PUT again by itself."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error
