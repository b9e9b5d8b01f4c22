"""aiohttp sessions as every client of the bridge uses them: parser limits, TLS, cookies, no own repeats."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
from typing_extensions import override

from cmc_notify import __version__
from cmc_notify.net.status_line import StatusLineConnector, StatusLineResponse

USER_AGENT = f"cmc-notify/{__version__}"
LONGEST_LINE = 1024 * 1024
"""Bytes of one header or status line. Real proxies send policies of 9,000 bytes; aiohttp reads 8,190."""
MOST_HEADERS = 10_000
BUFFER = 256 * 1024
KEPT_FOR = 1.0
"""Seconds that a kept connection may rest: a server closes one that rests longer at any moment."""


class RedirectRefusedError(aiohttp.ClientError):
    """A redirect, which would carry the request to another address."""


class BodyTooLargeError(aiohttp.ClientPayloadError):
    """A body beyond its limit; the message says which."""


@dataclass
class Progress:
    """How far one request came. Pass it as ``trace_request_ctx``."""

    written: bool = False
    """Set once a byte of the request was written: from then on it may have arrived."""


_progress: ContextVar[Progress | None] = ContextVar("net_progress", default=None)


@contextmanager
def track_progress() -> Iterator[Progress]:
    """Yield the progress of what is requested in the block, by a library that passes no context on."""
    progress = Progress()
    token = _progress.set(progress)
    try:
        yield progress
    finally:
        _progress.reset(token)


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How the sessions of one use differ. ``timeout`` bounds a whole request, in seconds; None: no bound."""

    timeout: float | None
    fingerprint: bytes | None = None
    """The SHA-256 of the one certificate that the server may show."""
    keep: bool = False
    """Keep connections for ``KEPT_FOR`` seconds. Only where a repeat is recognised: a connection that the
    server closes meanwhile leaves it unclear if the next request arrived.
    """
    repeat_reads: bool = False
    """Let aiohttp send a GET again where a kept connection turned out to be closed: reads change nothing."""
    cookies: bool = False
    decompress: bool = False
    max_body: int | None = None
    """Bytes that :meth:`aiohttp.ClientResponse.read` takes at most; None: the caller reads piece by piece."""
    headers: Mapping[str, str] = field(default_factory=dict)


def open_session(options: SessionOptions) -> aiohttp.ClientSession:
    """Return a session; the caller closes it. The TLS context goes with each request (``ssl=``).

    The pin goes to the connector and the context to the request: only so does aiohttp check the pin where
    a client certificate needs a context of its own too.
    """
    pin = options.fingerprint
    verify: aiohttp.Fingerprint | bool | ssl.SSLContext = True if pin is None else aiohttp.Fingerprint(pin)
    if options.keep:
        connector = StatusLineConnector(ssl=verify, keepalive_timeout=KEPT_FOR)
    else:
        connector = StatusLineConnector(ssl=verify, force_close=True)
    headers = {"User-Agent": USER_AGENT, **options.headers}
    if not options.decompress:
        headers.setdefault("Accept-Encoding", "identity")
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=options.timeout),
        # unsafe: a controller is often named by its IP address, which has no cookies otherwise
        cookie_jar=aiohttp.CookieJar(unsafe=True, quote_cookie=False)
        if options.cookies
        else aiohttp.DummyCookieJar(),
        headers=headers,
        response_class=_bounded_response(options.max_body),
        trace_configs=[_trace()],
        middlewares=() if options.repeat_reads else (_never_repeat,),
        auto_decompress=options.decompress,
        trust_env=False,
        read_bufsize=BUFFER,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
        max_headers=MOST_HEADERS,
    )


def _bounded_response(most: int | None) -> type[aiohttp.ClientResponse]:
    if most is None:
        return StatusLineResponse
    limit = most

    class BoundedResponse(StatusLineResponse):
        """A response that can't fill the memory where a library reads whatever comes, whole."""

        @override
        async def read(self) -> bytes:
            if self._body is None:
                chunks: list[bytes] = []
                size = 0
                async for chunk in self.content.iter_any():
                    size += len(chunk)
                    if size > limit:
                        self.close()
                        raise BodyTooLargeError(f"the response is larger than {limit} bytes")
                    chunks.append(chunk)
                self._body = b"".join(chunks)
            return self._body

    return BoundedResponse


def _trace() -> aiohttp.TraceConfig:
    """Note when a request is written, and stop at a redirect wherever a library asks to follow one."""

    async def on_headers_sent(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        progress = context.trace_request_ctx
        if not isinstance(progress, Progress):
            progress = _progress.get()
        if progress is not None:
            progress.written = True

    async def on_redirect(
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        _params: aiohttp.TraceRequestRedirectParams,
    ) -> None:
        raise RedirectRefusedError

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(on_headers_sent)
    trace.on_request_redirect.append(on_redirect)
    return trace


async def _never_repeat(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn a lost connection into an error after which aiohttp does not send the request again by itself."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error
