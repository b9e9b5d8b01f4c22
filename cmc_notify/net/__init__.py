"""One HTTP client for everything that the bridge calls: controllers, receivers, Slack, the heartbeat.

Guarantees, whoever calls:

- No redirect is followed, so credentials reach no other host. No cookie is kept unless it is asked for.
- A request is sent once. Libraries' own repeats are off: only the outbox and the poll try again.
- A status line that could be read counts, whatever follows it: unreadable headers, a broken body, a cut.
- Every read is bounded, after decompression too.
- An error is a :class:`NetworkError` in words for people. It says if the request may have arrived, and
  holds no secret that the caller named, in none of its spellings.
"""

from cmc_notify.net.client import HttpClient, HttpResponse, as_utf8
from cmc_notify.net.errors import FailureKind, NetworkError, translate
from cmc_notify.net.masking import mask, safe, url_secrets
from cmc_notify.net.proxy import Proxy
from cmc_notify.net.session import SessionOptions, open_session, track_progress
from cmc_notify.net.tls import client_context
from cmc_notify.net.words import certificate_text, no_connection_text, os_error_text

__all__ = [
    "FailureKind",
    "HttpClient",
    "HttpResponse",
    "NetworkError",
    "Proxy",
    "SessionOptions",
    "as_utf8",
    "certificate_text",
    "client_context",
    "mask",
    "no_connection_text",
    "open_session",
    "os_error_text",
    "safe",
    "track_progress",
    "translate",
    "url_secrets",
]
