"""The outcome of an HTTP response or of an error: one table for every sink that uses HTTP.

Guarantee: whatever the receiver responds, a reason that is made here holds none of the given secrets, no
more of a URL than its host, no line break, and at most 300 characters.
"""

import time
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.net import FailureKind, NetworkError, safe, translate

LONGEST_WAIT = 86400.0
"""Seconds. A receiver may ask for a pause, but not for more than a day."""

RETRIED = frozenset({408, 425, 429})
NEEDS_OPERATOR = frozenset({401, 403, 404, 405, 407, 410})
"""The address or the credentials are wrong, so the receiver would accept no message."""

_REDIRECTS = range(300, 400)


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
    if not isinstance(error, NetworkError):
        error = translate(error, written=request_written, secrets=secrets)
    said = safe(error, secrets)
    if request_written:
        return Unclear(f"no response after the request was written: {said}")
    match error.kind:
        case FailureKind.CERTIFICATE:
            return Blocked(f"the certificate was not accepted: {said}")
        case FailureKind.ADDRESS | FailureKind.REDIRECT:
            return Blocked(said)
        case FailureKind.PROXY if isinstance(from_status(error.proxy_status or 0), Blocked):
            return Blocked(said)
        case _:
            return RetryLater(said)


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
