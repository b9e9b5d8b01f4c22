"""How a webhook sink speaks to its endpoint: credentials, signature, limits, and what an answer means.

Guarantee: one request per call, never repeated; every answer or error becomes an outcome that holds no
secret; what only asks (GET, HEAD) is never unclear.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from cmc_notify import __version__
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent
from cmc_notify.errors import ConfigError
from cmc_notify.sinks.http import HttpClient, RequestProgress
from cmc_notify.sinks.outcomes import from_exception, from_status, safe
from cmc_notify.sinks.signing import parse_secret, sign
from cmc_notify.sinks.webhook.settings import EndpointSettings

JSON = "application/json"
_ASKS = frozenset({"GET", "HEAD"})
_SHORTEST_SECRET = 4
_ANSWER = 1_000_000
"""Bytes of an answer that are read where its content matters."""


NOT_THE_SERVICE = "it answered with success, but not as the service does: a proxy, or an instance that rests?"


class HttpResult(Struct, frozen=True):
    """What came of one request. ``status`` is None where there was no response."""

    outcome: SendOutcome
    status: int | None = None
    text: str = ""

    @property
    def document(self) -> Any:
        """The JSON value that was answered; None for none."""
        try:
            return msgspec.json.decode(self.text)
        except (msgspec.DecodeError, RecursionError):
            return None

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people: of a proxy that wants a log-in, of an instance that hibernates."""
        return self.text.lstrip().startswith("<")


class WebhookClient:
    """The way to one endpoint. Nothing is opened before the first request."""

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        content_type: str = JSON,
        headers: dict[str, str] | None = None,
        secrets: Iterable[str] = (),
        error_text: Callable[[str], str] = str,
    ) -> None:
        """``headers`` and ``secrets`` are a preset's own; ``words`` makes a reason of a refusal's body."""
        self.secrets = settings.secrets().union(secrets)
        self._error_text_of = error_text
        self._max_body = settings.max_body
        self._keys = [parse_secret(secret.get_secret_value()) for secret in settings.signing_secret]
        self._own = headers or {}
        self._private = {
            **{header: value.get_secret_value() for header, value in settings.headers.items()},
            **self._own,
            **settings.auth.headers(),
        }
        self._content_type = content_type
        self._client = HttpClient(settings.tls, timeout=settings.timeout, proxy=settings.proxy)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        message_id: str | None = None,
        read: bool = False,
    ) -> HttpResult:
        """One request. ``message_id`` goes along as ``webhook-id`` and is what a signature covers; ``read``
        also reads what is answered with success. A lost response is Unclear, unless the request only asks.
        """
        if body is not None and len(body) > self._max_body:
            return HttpResult(Rejected(too_large(self._max_body)))
        headers = {**self._plain(method), **self._private, **self._signed(message_id, body)}
        progress = RequestProgress()
        try:
            response = await self._client.request(
                method, url, headers=headers, body=body, progress=progress, read=_ANSWER if read else 0
            )
        except ConfigError as error:
            return HttpResult(Blocked(safe(error, self.secrets)))
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            written = progress.written and method not in _ASKS
            return HttpResult(from_exception(error, request_written=written, secrets=self.secrets))
        ok = 200 <= response.status < 300  # noqa: PLR2004  HTTP's own number
        reason = "" if ok else self._error_text(response.text)
        outcome = from_status(response.status, response.retry_after, reason, secrets=self.secrets)
        return HttpResult(outcome, response.status, response.text)

    def request_head(self, method: str, url: str, message_id: str | None) -> str:
        """The request's head for people: what only an attempt knows is named, what is secret is masked."""
        lines = [f"{method} {self.mask(url)}"]
        lines += [f"{name}: {value}" for name, value in self._plain(method).items()]
        lines += [f"{name}: ***" for name in self._private]
        if message_id is not None:
            lines += [f"webhook-id: {message_id}", "webhook-timestamp: (Unix seconds of the attempt)"]
            if self._keys:
                lines.append(f"webhook-signature: {' '.join(['v1,(signature)'] * len(self._keys))}")
        return "\n".join(lines) + "\n"

    def mask(self, text: str) -> str:
        """The text without any secret that it may hold; one that is too short to hide is let be."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    def _error_text(self, text: str) -> str:
        try:
            return self._error_text_of(text)
        except RecursionError:  # JSON that is nested without end
            return text

    def _plain(self, method: str) -> dict[str, str]:
        kind = {"Accept": JSON} if method in _ASKS else {"Content-Type": self._content_type}
        return {"User-Agent": f"cmc-notify/{__version__}", **kind}

    def _signed(self, message_id: str | None, body: bytes | None) -> dict[str, str]:
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
    """Scheme and host of an address: all of it that may be shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def too_large(max_body: int) -> str:
    """Why a document is a dead letter that can't be made any smaller."""
    return (
        f"the document is larger than max_body ({max_body} bytes) without any failure in it; "
        f"raise max_body or shorten the template"
    )


def service_outcome(result: HttpResult) -> SendOutcome:
    """The outcome of a request whose answer was read: success only where the service itself answers."""
    return (
        RetryLater(NOT_THE_SERVICE) if isinstance(result.outcome, Sent) and result.is_html else result.outcome
    )


def with_status_receipt(result: HttpResult) -> SendOutcome:
    """The outcome, with the status as its receipt where it was taken."""
    return Sent(f"HTTP {result.status}") if isinstance(result.outcome, Sent) else result.outcome
