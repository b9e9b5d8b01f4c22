"""Everything that can go wrong on the way to a server, as one error with a kind: one table of words for all.

``translate`` is the only place that knows aiohttp's exceptions.
"""

import re
import ssl
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import aiohttp
from msgspec import Struct

from cmc_notify.errors import CmcNotifyError
from cmc_notify.net.masking import safe
from cmc_notify.net.session import BodyTooLargeError, RedirectRefusedError
from cmc_notify.net.status_line import StatusLineUnread
from cmc_notify.net.words import certificate_text, no_connection_text, os_error_text


class FailureKind(StrEnum):
    """The part of the way that failed; each kind asks for its own remedy."""

    CONNECT = "connect"
    """No connection: name, route, port, TLS."""
    CERTIFICATE = "certificate"
    """The server's certificate is refused; no retry changes that."""
    ADDRESS = "address"
    """The URL can't be used."""
    PROXY = "proxy"
    """The proxy refused; ``proxy_status`` is its HTTP status."""
    TIMEOUT = "timeout"
    BROKEN = "broken"
    """The connection broke off before the response was complete."""
    INVALID = "invalid"
    """The response is not valid HTTP, or can't be decoded."""
    REDIRECT = "redirect"


class NetworkError(CmcNotifyError):
    """A request that got no usable response. The message is for people and holds no secret.

    ``written``: a part of the request was written, so it may have arrived. ``status``: the status line that
    was read all the same.
    """

    def __init__(
        self,
        reason: str,
        *,
        kind: FailureKind,
        written: bool,
        status: int | None = None,
        proxy_status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.written = written
        self.status = status
        self.proxy_status = proxy_status


CAUGHT = (aiohttp.ClientError, OSError, ValueError)
"""What a request can raise: ValueError for a URL or header that can't be sent. TimeoutError is an OSError."""


def translate(
    error: BaseException,
    *,
    written: bool,
    timeout: float | None = None,
    secrets: Iterable[str] = (),
    tls_place: str = "tls",
    timeout_key: str = "timeout",
) -> NetworkError:
    """Return the NetworkError that ``error`` means.

    ``timeout`` is in seconds. ``tls_place`` and ``timeout_key`` are the keys that a remedy names.
    """
    kind, words = _kind_and_words(error, _Context(timeout, tls_place, timeout_key))
    return NetworkError(
        safe(words, secrets),
        kind=kind,
        written=written,
        status=error.status if isinstance(error, StatusLineUnread) else None,
        proxy_status=error.status if isinstance(error, aiohttp.ClientHttpProxyError) else None,
    )


class _Context(Struct, frozen=True):
    timeout: float | None
    place: str
    timeout_key: str


def _kind_and_words(error: BaseException, context: _Context) -> tuple[FailureKind, str]:
    if isinstance(error, StatusLineUnread) and error.__cause__ is not None:
        kind, why = _kind_and_words(error.__cause__, context)
        return kind, f"HTTP {error.status}, but {why}"
    for types, kind, words in _TABLE:
        if isinstance(error, types):
            return FailureKind.CERTIFICATE if _refused_certificate(error) else kind, words(error, context)
    return FailureKind.INVALID, f"the response is not valid HTTP ({type(error).__name__})"


def _refused_certificate(error: BaseException | None) -> bool:
    """Return True if a refused certificate caused the error, also one that a library has wrapped."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__
    return False


def _timeout_words(error: Any, context: _Context) -> str:
    if context.timeout is not None:
        return f"no complete response within {context.timeout:g} s ({context.timeout_key})"
    own = str(error).strip()  # a library's own words, such as a mail client's
    return f"time-out: {own}" if own else "time-out"


def _os_words(error: OSError, _context: _Context) -> str:
    own = str(error).strip()
    if error.errno is None and isinstance(error.__cause__, OSError):  # a library's error around the system's
        return f"no connection: {os_error_text(error.__cause__)}"
    if error.errno is not None or not own or "[Errno" in own:  # asyncio joins several addresses' errors
        return os_error_text(error)
    return own


def _pin_words(error: aiohttp.ServerFingerprintMismatch, context: _Context) -> str:
    return (
        f"{error.host}:{error.port} has the SHA-256 fingerprint {error.got.hex()},"
        f" not the one in {context.place}.fingerprint_sha256"
    )


def _certificate_words(error: aiohttp.ClientConnectorCertificateError, context: _Context) -> str:
    words = certificate_text(error.certificate_error, place=context.place)
    return f"{error.host}:{error.port}: {words}"


def _unconnected_words(error: aiohttp.ClientConnectorError, _context: _Context) -> str:
    return no_connection_text(error.host, error.port, os_error_text(error.os_error))


def _invalid_words(error: aiohttp.ClientResponseError) -> str:
    """Aiohttp knows why it gave up a response; its message holds bytes of the response, so only the kind of
    fault is taken from it.
    """
    said = error.message or ""
    if found := re.search(r"content-encoding: ([\w-]+)", said, re.IGNORECASE):
        return f"the body is compressed with {found[1]}, which was not asked for"
    if found := re.search(r"more than (\d+) bytes", said):
        return f"a header or line of the response is longer than {found[1]} bytes"
    if "decode" in said.lower() or "encoding" in said.lower():
        return "the body can't be decompressed"
    kind = " ".join(said.split(":", 1)[0].split()[:8])
    return f"the response is not valid HTTP{f' ({kind.lower()})' if kind else ''}"


_BROKEN = "the connection was lost before the response was complete"
_Words = Callable[[Any, _Context], str]
_TABLE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], FailureKind, _Words], ...] = (
    (TimeoutError, FailureKind.TIMEOUT, _timeout_words),
    (
        (RedirectRefusedError, aiohttp.TooManyRedirects),
        FailureKind.REDIRECT,
        lambda _error, _context: "a redirect, which is never followed: use the final address",
    ),
    (aiohttp.ServerFingerprintMismatch, FailureKind.CERTIFICATE, _pin_words),
    (aiohttp.ClientConnectorCertificateError, FailureKind.CERTIFICATE, _certificate_words),
    (
        # UnicodeError: a host name that can't be one
        (aiohttp.InvalidURL, UnicodeError),
        FailureKind.ADDRESS,
        lambda _error, _context: "the address can't be used",
    ),
    (
        aiohttp.ClientProxyConnectionError,
        FailureKind.CONNECT,
        lambda error, context: f"the proxy can't be reached: {_unconnected_words(error, context)}",
    ),
    (
        aiohttp.ClientHttpProxyError,
        FailureKind.PROXY,
        lambda error, _context: f"the proxy refuses with HTTP {error.status}",
    ),
    (aiohttp.ClientConnectorError, FailureKind.CONNECT, _unconnected_words),
    (aiohttp.ClientResponseError, FailureKind.INVALID, lambda error, _context: _invalid_words(error)),
    (BodyTooLargeError, FailureKind.INVALID, lambda error, _context: str(error)),
    (
        (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError),
        FailureKind.BROKEN,
        lambda _error, _context: _BROKEN,
    ),
    (OSError, FailureKind.CONNECT, _os_words),
    (ValueError, FailureKind.ADDRESS, lambda error, _context: f"the request can't be sent: {error}"),
)
"""What each exception means; the first that fits counts, so the narrower ones come first."""
