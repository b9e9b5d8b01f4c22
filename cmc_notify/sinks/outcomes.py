"""The outcome of an HTTP response or of an error: one table for every sink that uses HTTP.

Guarantee: whatever the receiver responds, a reason that is made here holds none of the given secrets, no
more of a URL than its host, no line break, and at most 300 characters.
"""

import re
import ssl
import time
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from urllib.parse import quote, unquote, urlsplit

import aiohttp

from cmc_notify.core.network import no_connection_text, os_error_text
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear

LONGEST_REASON = 300
LONGEST_WAIT = 86400.0
"""Seconds. A receiver may ask for a pause, but not for more than a day."""

RETRIED = frozenset({408, 425, 429})
NEEDS_OPERATOR = frozenset({401, 403, 404, 405, 407, 410})
"""The address or the credentials are wrong, so the receiver would accept no message."""

_URL = re.compile(r"://([^\s\"'<>]*)")  # without the scheme, whose search takes quadratic time
_SHORTEST_SECRET = 4
_SHORTEST_PATH_SECRET = 6
_REDIRECTS = range(300, 400)


def safe(text: object, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` on one printable line, cut to size, without ``secrets``, URLs cut to their host."""
    result = _URL.sub(_host_only, str(text))
    for secret in sorted(_spellings(secrets), key=len, reverse=True):
        result = result.replace(secret, "…")
    result = "".join(c if c.isprintable() else " " for c in result)
    result = " ".join(result.split())
    return result if len(result) <= LONGEST_REASON else result[: LONGEST_REASON - 1] + "…"


def url_secrets(url: str) -> frozenset[str]:
    """Return the parts of a URL that may be a token: credentials, path, long path segments, query values."""
    parts = urlsplit(url)
    found = {parts.path, parts.query, f"{parts.path}?{parts.query}", parts.fragment}
    found.update(parts.path.split("/"))
    found.update(pair.partition("=")[2] for pair in parts.query.split("&"))
    kept = {part for part in found if len(part) >= _SHORTEST_PATH_SECRET}
    return frozenset(kept | {part for part in (parts.username, parts.password) if part})


def from_status(
    status: int, retry_after: str | None = None, reason: str = "", *, secrets: Iterable[str] = ()
) -> SendOutcome:
    """Return the outcome of an HTTP response.

    Only 2xx is success. 408, 425, 429 and 5xx are retried later, after ``retry_after`` (the header's value).
    Redirects are never followed: like a wrong path, a wrong method, refused credentials and 410 they need
    an operator. Every other 4xx is about this one message.
    """
    if 200 <= status < 300:  # noqa: PLR2004  HTTP's own number
        return Sent()
    said = safe(f"HTTP {status}: {reason}" if reason.strip() else f"HTTP {status}", secrets)
    if status in RETRIED or status >= 500:  # noqa: PLR2004  HTTP's own number
        return RetryLater(said, wait_from_header(retry_after))
    if status in _REDIRECTS:
        return Blocked(f"{said} (a redirect, which is never followed: put the final address in the config)")
    if status in NEEDS_OPERATOR:
        return Blocked(said)
    return Rejected(said)


def from_exception(
    error: BaseException, *, request_written: bool, secrets: Iterable[str] = ()
) -> SendOutcome:
    """Return the outcome of a send that ended in an error instead of a response.

    Once the request was written (even in part) it may have arrived: Unclear. Before that it did not:
    RetryLater, or Blocked if the receiver's certificate, the URL or the proxy's credentials are wrong.
    """
    said = safe(describe(error), secrets)
    if request_written:
        return Unclear(f"no response after the request was written: {said}")
    if is_certificate_error(error):
        return Blocked(f"the certificate was not accepted: {said}")
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):  # the latter for an impossible host name
        return Blocked(f"the address can't be used: {said}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        refused = from_status(error.status, reason=f"response of the proxy: {error.message}", secrets=secrets)
        # Other statuses of a proxy say nothing about the message: only refused credentials block.
        return refused if isinstance(refused, Blocked) else RetryLater(said)
    return RetryLater(said)


def describe(error: BaseException) -> str:
    """Return what happened in plain words if they are known, else the error's own text, with its type.

    The text is not yet safe to show: pass it through ``safe``.
    """
    own = str(error).strip()
    match error:
        case TimeoutError():
            words = f"time-out: {own}" if own else "time-out"
        case aiohttp.ServerFingerprintMismatch():
            address = f"{error.host}:{error.port}"
            words = f"{address} has the SHA-256 fingerprint {error.got.hex()}, not the one configured"
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            words = f"{error.host}:{error.port}: {why}"
        case aiohttp.ClientProxyConnectionError():
            words = f"the proxy: {no_connection_text(error.host, error.port, os_error_text(error.os_error))}"
        case aiohttp.ClientConnectorError():
            words = no_connection_text(error.host, error.port, os_error_text(error.os_error))
        case aiohttp.ClientHttpProxyError():
            words = f"the proxy responds with HTTP {error.status}"
        case aiohttp.ServerDisconnectedError():
            words = "the connection was lost"
        case OSError() if error.errno is not None or not own:
            words = os_error_text(error)
        case OSError() if isinstance(error.__cause__, OSError):  # a library's own, such as aiosmtplib's
            words = f"no connection: {os_error_text(error.__cause__)}"
        case _:
            words = f"{type(error).__name__}: {own}" if own else type(error).__name__
    return words


def is_certificate_error(error: BaseException) -> bool:
    """Return True if TLS failed because of the receiver's identity, which no retry changes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(
            cause,
            ssl.SSLCertVerificationError
            | aiohttp.ServerFingerprintMismatch
            | aiohttp.ClientConnectorCertificateError,
        ):
            return True
        cause = cause.__cause__
    return False


def wait_from_header(value: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header (seconds or an HTTP date); None if absent or invalid."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError, OSError):
            return None
        # An HTTP date is GMT, even with "-0000", which the parser reads as no zone.
        zoned = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = zoned.timestamp() - (time.time() if now is None else now)
    return min(max(seconds, 0.0), LONGEST_WAIT) if isfinite(seconds) else None


def _spellings(secrets: Iterable[str]) -> set[str]:
    """Return each secret as it is, URL-quoted, unquoted and in base64: a response may echo any of them.

    Secrets of under four characters are left out: the gaps would reveal them and make the text unreadable.
    """
    result: set[str] = set()
    for secret in secrets:
        if len(secret) < _SHORTEST_SECRET:
            continue
        raw = secret.encode("utf-8", "replace")
        result |= {secret, quote(secret, safe=""), unquote(secret), b64encode(raw).decode()}
    return result


def _host_only(found: re.Match[str]) -> str:
    authority = re.split(r"[/?#\\]", found[1], maxsplit=1)[0].rpartition("@")[2]
    return f"://{authority}{'/…' if authority != found[1] else ''}"
