"""The outcomes of a mail server's replies and of a broken SMTP session.

- 4xx: retry later, whatever the command
- 5xx to the greeting, TLS, sign-in or sender: Blocked, since it concerns every mail; also a sign-in that is
  demanded later, and a server without the TLS or sign-in that the config demands
- 552 to the sender, 5xx to the mail itself: Rejected
- a wrong certificate: Blocked; any other failure of TLS: RetryLater, since it may pass
- connection lost once the mail was being written: Unclear (the same Message-ID is sent again)
"""

from collections.abc import Iterable

import aiosmtplib

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome
from cmc_notify.errors import ConfigError
from cmc_notify.net import safe
from cmc_notify.sinks.outcomes import from_exception

TRANSIENT = range(400, 500)
PERMANENT = range(500, 600)
_SIGN_IN = frozenset({530, 534, 535, 538})
"""The codes of RFC 4954 that demand a sign-in, or another one."""
_TOO_LARGE = 552


def from_error(
    error: aiosmtplib.SMTPException | OSError | ConfigError, *, written: bool, secrets: Iterable[str]
) -> SendOutcome:
    """Return the outcome of a session that ended in ``error``; ``written``: the mail may have arrived."""
    if isinstance(error, ConfigError):
        return Blocked(safe(error, secrets))
    if isinstance(error, aiosmtplib.SMTPResponseException) and not written:
        return _from_response(error, safe(f"SMTP {error.code}: {error.message}", secrets))
    if isinstance(error, OSError) or written:  # aiosmtplib's lost connections and time-outs are OSErrors
        return from_exception(error, request_written=written, secrets=secrets)
    # The remaining errors are extensions that the server lacks, such as AUTH.
    return Blocked(safe(error.message, secrets))


def _from_response(error: aiosmtplib.SMTPResponseException, said: str) -> SendOutcome:
    if error.code not in PERMANENT:  # also replies that are not SMTP
        return RetryLater(said)
    if error.code in _SIGN_IN:
        return Blocked(said)
    about_this_mail = isinstance(error, aiosmtplib.SMTPDataError) or error.code == _TOO_LARGE
    return Rejected(said) if about_this_mail else Blocked(said)
