"""The outcome of a send, from Apprise's log: Apprise returns only yes or no.

Guarantee: the outcome claims no more than the log says. A lost connection is Unclear unless it is certain
that nothing was sent, and no reason holds a secret.
"""

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cmc_notify.core.outcome import Blocked, RetryLater, SendOutcome, Unclear
from cmc_notify.net import safe
from cmc_notify.sinks.outcomes import NEEDS_OPERATOR

_STATUS = re.compile(r"\berror=(\d{3})\b")
"""The form in which nearly all of Apprise's plugins log an HTTP status."""
_LOST = re.compile(r"connection error|socket exception|timed? ?out", re.IGNORECASE)
_NEVER_SENT = re.compile(
    r"NewConnectionError|Failed to establish|ConnectTimeout|NameResolution|ProxyError|SSLError|"
    r"Connection refused|Name or service not known|Errno (?:111|113|101|-2|-3)\b"
)
"""Words of urllib3, requests and the system for a connection that never existed."""
_REFUSED = re.compile(r"\(\d{3}, b['\"]")
"""A mail server's reply as smtplib shows it: nothing was lost."""
_SYSTEM = re.compile(r"\[Errno -?\d+\] ([A-Za-z ]+)")


class _LogCapture(logging.Handler):
    """Keeps the log of each capturing thread apart."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.log = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's text for the thread that logged it."""
        kept: list[tuple[int, str]] | None = getattr(self.log, "kept", None)
        if kept is not None:
            kept.append((record.levelno, record.getMessage()))


_CAPTURE = _LogCapture()


@contextmanager
def captured_log() -> Iterator[Sequence[tuple[int, str]]]:
    """Capture Apprise's log of this thread: level and text, with secrets."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)  # connection errors are logged at this level
    logger.addHandler(_CAPTURE)  # adding it again has no effect
    kept: list[tuple[int, str]] = []
    _CAPTURE.log.kept = kept
    try:
        yield kept
    finally:
        _CAPTURE.log.kept = None


def outcome_from_log(log: Sequence[tuple[int, str]], secrets: frozenset[str]) -> SendOutcome:
    """Return the outcome of a refusal, by the log before it."""
    warnings = [text for level, text in log if level >= logging.WARNING]
    everything = "\n".join(text for _, text in log)
    words = warnings[-1].strip() if warnings else "refused, and no reason was given"
    if cause := _SYSTEM.search(everything):
        words = f"{words.rstrip('.')}: {cause[1].strip().lower()}"
    reason = safe(words, secrets)
    if status := _STATUS.search("\n".join(warnings)):
        return Blocked(reason) if int(status[1]) in NEEDS_OPERATOR else RetryLater(reason)
    if _LOST.search(everything) and not _NEVER_SENT.search(everything) and not _REFUSED.search(everything):
        return Unclear(reason)
    return RetryLater(reason)
