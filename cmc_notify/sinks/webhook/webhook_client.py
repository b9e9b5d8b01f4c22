"""The HTTP client of a webhook sink: credentials, signature, limits, and the outcome of each request.

Guarantee: one request per call, never repeated. Every response or error becomes an outcome that holds no
secret. A request that only reads (GET, HEAD) is never unclear.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent
from cmc_notify.errors import ConfigError
from cmc_notify.net import HttpClient, NetworkError, mask, safe
from cmc_notify.net.session import USER_AGENT
from cmc_notify.sinks.outcomes import from_exception, from_status
from cmc_notify.sinks.signing import parse_secret, sign
from cmc_notify.sinks.webhook.settings import EndpointSettings

JSON = "application/json"
_ASKS = frozenset({"GET", "HEAD"})
_ANSWER = 1_000_000
"""Bytes of an answer that are read where its content matters."""


NOT_THE_SERVICE = (
    "it responded with success, but not as the service does; check for a proxy or a hibernating instance"
)


class HttpResult(Struct, frozen=True):
    """The result of one request. ``status`` is None if there was no response."""

    outcome: SendOutcome
    status: int | None = None
    text: str = ""

    @property
    def document(self) -> Any:
        """Return the JSON value of the body; None if it is not JSON."""
        try:
            return msgspec.json.decode(self.text)
        except (msgspec.DecodeError, RecursionError):
            return None

    @property
    def is_html(self) -> bool:
        """Return True for an HTML page: a proxy's log-in, or an instance that hibernates."""
        return self.text.lstrip().startswith("<")


class WebhookClient:
    """Sends requests to one endpoint. It opens nothing before the first request."""

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        content_type: str = JSON,
        headers: dict[str, str] | None = None,
        secrets: Iterable[str] = (),
        error_text: Callable[[str], str] = str,
    ) -> None:
        """``headers`` and ``secrets`` are the preset's own; ``error_text`` turns a refusal into a reason."""
        self.secrets = settings.secrets().union(secrets)
        self._error_text_of = error_text
        self._max_body = settings.max_body
        self._keys = [parse_secret(secret.get_secret_value()) for secret in settings.signing_secret]
        own_headers = headers or {}
        self._secret_headers = {
            **{header: value.get_secret_value() for header, value in settings.headers.items()},
            **own_headers,
            **settings.auth.headers(),
        }
        self._content_type = content_type
        self._client = HttpClient(
            settings.tls, timeout=settings.timeout, proxy=settings.proxy, secrets=lambda: self.secrets
        )

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        message_id: str | None = None,
        read: bool = False,
    ) -> HttpResult:
        """Send one request. ``message_id`` is sent as ``webhook-id`` and covered by the signature.

        ``read`` also reads the body of a success. A lost response is Unclear, unless the request only reads.
        """
        if body is not None and len(body) > self._max_body:
            return HttpResult(Rejected(too_large(self._max_body)))
        headers = {
            **self._plain_headers(method),
            **self._secret_headers,
            **self._signature_headers(message_id, body),
        }
        try:
            response = await self._client.request(
                method, url, headers=headers, body=body, read=_ANSWER if read else 0
            )
        except ConfigError as error:
            return HttpResult(Blocked(safe(error, self.secrets)))
        except NetworkError as error:
            written = error.written and method not in _ASKS
            return HttpResult(from_exception(error, request_written=written, secrets=self.secrets))
        ok = 200 <= response.status < 300  # noqa: PLR2004  HTTP's own number
        reason = "" if ok else self._error_text(response.text)
        outcome = from_status(response.status, response.retry_after, reason, secrets=self.secrets)
        return HttpResult(outcome, response.status, response.text)

    def request_head(self, method: str, url: str, message_id: str | None) -> str:
        """Return the request's head for people: values of an attempt are named, secrets are masked."""
        lines = [f"{method} {self.mask(url)}"]
        lines += [f"{name}: {value}" for name, value in self._plain_headers(method).items()]
        lines += [f"{name}: ***" for name in self._secret_headers]
        if message_id is not None:
            lines += [f"webhook-id: {message_id}", "webhook-timestamp: (Unix seconds of the attempt)"]
            if self._keys:
                lines.append(f"webhook-signature: {' '.join(['v1,(signature)'] * len(self._keys))}")
        return "\n".join(lines) + "\n"

    def mask(self, text: str) -> str:
        """Return the text without any of the secrets, except one that is too short to hide."""
        return mask(text, self.secrets, sign="***")

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    def _error_text(self, text: str) -> str:
        try:
            return self._error_text_of(text)
        except RecursionError:  # endlessly nested JSON
            return text

    def _plain_headers(self, method: str) -> dict[str, str]:
        kind = {"Accept": JSON} if method in _ASKS else {"Content-Type": self._content_type}
        return {"User-Agent": USER_AGENT, **kind}

    def _signature_headers(self, message_id: str | None, body: bytes | None) -> dict[str, str]:
        if message_id is None:
            return {}
        timestamp = int(time.time())
        headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
        if self._keys:
            headers["webhook-signature"] = sign(
                self._keys, message_id=message_id, timestamp=timestamp, body=body or b""
            )
        return headers


def host_of(url: str) -> str:
    """Return the scheme and host of a URL, the only parts that may be shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def too_large(max_body: int) -> str:
    """Return the reason for rejecting a document that can't be made any smaller."""
    return (
        f"the document is larger than max_body ({max_body} bytes) without any failure in it; "
        f"raise max_body or shorten the template"
    )


def service_outcome(result: HttpResult) -> SendOutcome:
    """Return the outcome of a request whose response was read: an HTML page is not a success."""
    return (
        RetryLater(NOT_THE_SERVICE) if isinstance(result.outcome, Sent) and result.is_html else result.outcome
    )


def with_status_receipt(result: HttpResult) -> SendOutcome:
    """Return the outcome; for a success, the status is its receipt."""
    return Sent(f"HTTP {result.status}") if isinstance(result.outcome, Sent) else result.outcome
