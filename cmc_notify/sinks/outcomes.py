"""What an answer or an error of the other side means: one table for every sink that speaks HTTP.

Guarantee: no reason that is made here holds a secret it was told of, more of a URL than its host,
a line break, or more than 300 characters, whatever the other side answered.
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
"""Seconds. A receiver may ask for patience, not for silence beyond a day."""

RETRIED = frozenset({408, 425, 429})
NEEDS_OPERATOR = frozenset({401, 403, 404, 405, 407, 410})
"""The address or the credentials are wrong, whatever the message: no message would be taken."""

_URL = re.compile(
    r"://([^\s\"'<>]*)"
)  # without the scheme, whose search would take the square of a long word
_SHORTEST_SECRET = 4
_SHORTEST_PATH_SECRET = 6
_REDIRECTS = range(300, 400)


def safe(text: object, secrets: Iterable[str] = ()) -> str:
    """``text`` on one line of printable characters, shortened, without ``secrets``, URLs cut to the host."""
    result = _URL.sub(_host_only, str(text))
    for secret in sorted(_spellings(secrets), key=len, reverse=True):
        result = result.replace(secret, "…")
    result = "".join(c if c.isprintable() else " " for c in result)
    result = " ".join(result.split())
    return result if len(result) <= LONGEST_REASON else result[: LONGEST_REASON - 1] + "…"


def url_secrets(url: str) -> frozenset[str]:
    """What of a URL may be a token: credentials, path, long path segments, query and its values."""
    parts = urlsplit(url)
    found = {parts.path, parts.query, f"{parts.path}?{parts.query}", parts.fragment}
    found.update(parts.path.split("/"))
    found.update(pair.partition("=")[2] for pair in parts.query.split("&"))
    kept = {part for part in found if len(part) >= _SHORTEST_PATH_SECRET}
    return frozenset(kept | {part for part in (parts.username, parts.password) if part})


def from_status(
    status: int, retry_after: str | None = None, reason: str = "", *, secrets: Iterable[str] = ()
) -> SendOutcome:
    """The outcome of an HTTP response.

    2xx is success and nothing else is. 408, 425, 429 and 5xx are for later, honouring ``retry_after`` (the
    header's value). Redirects are never followed: like a wrong path, a wrong method, refused credentials
    and 410 they need an operator. Every other 4xx speaks of this one message.
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
    """The outcome of a send that ended in an error instead of an response.

    Once the request was written (even in part) it may have arrived: Unclear. Before that it did not:
    RetryLater, or Blocked where the other side's certificate, the URL or the proxy's credentials are wrong.
    """
    said = safe(describe(error), secrets)
    if request_written:
        return Unclear(f"no response after the request was written: {said}")
    if is_certificate_error(error):
        return Blocked(f"the certificate was not accepted: {said}")
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):  # the latter for a host name that can't be one
        return Blocked(f"the address can't be used: {said}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        refused = from_status(error.status, reason=f"answer of the proxy: {error.message}", secrets=secrets)
        # A proxy that passes 4xx or 2xx garbage on says nothing about the message: only credentials block.
        return refused if isinstance(refused, Blocked) else RetryLater(said)
    return RetryLater(said)


def describe(error: BaseException) -> str:
    """What happened in words for people, where we know it; else the error's own, with its type where they
    alone say too little. Not yet safe to show.
    """
    own = str(error).strip()
    match error:
        case TimeoutError():
            words = f"time-out: {own}" if own else "time-out"
        case aiohttp.ServerFingerprintMismatch():
            place = f"{error.host}:{error.port}"
            words = f"{place} has the SHA-256 fingerprint {error.got.hex()}, not the one configured"
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            words = f"{error.host}:{error.port}: {why}"
        case aiohttp.ClientProxyConnectionError():
            words = f"the proxy: {no_connection_text(error.host, error.port, os_error_text(error.os_error))}"
        case aiohttp.ClientConnectorError():
            words = no_connection_text(error.host, error.port, os_error_text(error.os_error))
        case aiohttp.ClientHttpProxyError():
            words = f"the proxy answers with HTTP {error.status}"
        case aiohttp.ServerDisconnectedError():
            words = "the connection broke off"
        case OSError() if error.errno is not None or not own:
            words = os_error_text(error)
        case OSError() if isinstance(error.__cause__, OSError):  # a library's own, such as aiosmtplib's
            words = f"no connection: {os_error_text(error.__cause__)}"
        case _:
            words = f"{type(error).__name__}: {own}" if own else type(error).__name__
    return words


def is_certificate_error(error: BaseException) -> bool:
    """Whether TLS failed because of who the other side is, which no retry changes."""
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
    """Seconds to wait by a ``Retry-After`` header (seconds or an HTTP date); None for none or nonsense."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError, OSError):
            return None
        # An HTTP date is GMT, also where it says "-0000", which the parser takes for no zone at all.
        zoned = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = zoned.timestamp() - (time.time() if now is None else now)
    return min(max(seconds, 0.0), LONGEST_WAIT) if isfinite(seconds) else None


def _spellings(secrets: Iterable[str]) -> set[str]:
    """Each secret as it is, URL-quoted or unquoted, and base64-coded: an echo may hold any of them.

    One of less than four characters is let be: the holes would tell it, and leave nothing to read.
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
