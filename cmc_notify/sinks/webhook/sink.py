"""The webhook sink: one request per message, signed by Standard Webhooks 1.0.

Guarantee: at least once, every attempt under the same ``webhook-id`` (the delivery's key), by which a
receiver recognises a repeat; the document arrives exactly as rendered, and says so where it is not whole.
"""

import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp

from cmc_notify import __version__
from cmc_notify.core.outcome import Blocked, Rejected, SendOutcome, Sent
from cmc_notify.errors import ConfigError
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.sinks.fitting import fit, fit_aside
from cmc_notify.sinks.http import Contact, HttpClient
from cmc_notify.sinks.outcomes import from_exception, from_status, safe, url_secrets
from cmc_notify.sinks.signing import parse_secret, sign
from cmc_notify.sinks.webhook.settings import WebhookSettings

_ONLY_POST = {404, 405, 501}
"""How receivers that know no HEAD answer it."""


class WebhookSink:
    """Posts each message once per attempt. Safe to use from several tasks."""

    def __init__(self, name: str, settings: WebhookSettings, renderer: Renderer) -> None:
        self._name = name
        self._settings = settings
        self._renderer = renderer
        self._url = settings.url.get_secret_value()
        self._keys = [parse_secret(secret.get_secret_value()) for secret in settings.signing_secret]
        self._fixed_headers = {
            "User-Agent": f"cmc-notify/{__version__}",
            "Content-Type": settings.content_type,
            **{header: value.get_secret_value() for header, value in settings.headers.items()},
            **settings.auth.headers(),
        }
        self._secrets = _secrets(settings)
        self._client = HttpClient(settings.tls, timeout=settings.timeout, proxy=settings.proxy)

    @property
    def name(self) -> str:
        """Its name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:  # noqa: ARG002  it has one part
        """One signed request. A lost answer is Unclear; the next attempt shows the same ``webhook-id``."""
        body = await fit_aside(message, self._document, self._settings.max_body)
        if body is None:
            return Rejected(self._too_large())
        timestamp = int(time.time())
        headers = {"webhook-id": message.key, "webhook-timestamp": str(timestamp)}
        if self._keys:
            headers["webhook-signature"] = sign(
                self._keys, message_id=message.key, timestamp=timestamp, body=body
            )
        outcome, status = await self._request(self._settings.method, headers, body)
        return Sent(f"HTTP {status}") if isinstance(outcome, Sent) else outcome

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """The request's head, where what only an attempt knows and what is secret is named, and its body."""
        body = fit(message, self._document, self._settings.max_body)
        parts = urlsplit(self._url)
        secret = {*self._settings.headers, *self._settings.auth.headers()}
        head = [
            f"{self._settings.method} {parts.scheme}://{parts.netloc}/***",
            *(f"{name}: {'***' if name in secret else value}" for name, value in self._fixed_headers.items()),
            f"webhook-id: {message.key}",
            "webhook-timestamp: (Unix seconds of the attempt)",
        ]
        if self._keys:
            head.append(f"webhook-signature: {' '.join(['v1,(signature)'] * len(self._keys))}")
        whole = self._too_large() if body is None else body.decode("utf-8", "replace")
        return [PreviewDocument("request.txt", "\n".join(head) + "\n"), PreviewDocument("body.json", whole)]

    async def probe(self) -> SendOutcome:
        """Ask for the headers of the address, which tells nobody anything.

        Many receivers know only POST: any answer but a refusal of the credentials, a redirect or a
        server's fault counts as reached, and the receipt shows it.
        """
        outcome, status = await self._request("HEAD", {}, None)
        if status is None or isinstance(outcome, Sent):
            return Sent(f"HEAD: HTTP {status}") if isinstance(outcome, Sent) else outcome
        if isinstance(outcome, Rejected) or status in _ONLY_POST:
            return Sent(f"it answers HEAD with HTTP {status}, which says nothing about POST")
        return outcome

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    def _too_large(self) -> str:
        return (
            f"the document is larger than max_body ({self._settings.max_body} bytes) without any failure "
            f"in it; raise max_body or shorten the template"
        )

    def _document(self, message: Message) -> bytes:
        return self._renderer.render("webhook", "json", message).text.encode("utf-8", "replace")

    async def _request(
        self, method: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[SendOutcome, int | None]:
        contact = Contact()
        try:
            answer = await self._client.request(
                method, self._url, headers={**self._fixed_headers, **headers}, body=body, contact=contact
            )
        except ConfigError as error:
            return Blocked(safe(error, self._secrets)), None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            outcome = from_exception(
                error, request_written=contact.written and method != "HEAD", secrets=self._secrets
            )
            return outcome, None
        outcome = from_status(answer.status, answer.retry_after, answer.text, secrets=self._secrets)
        return outcome, answer.status


def _secrets(settings: WebhookSettings) -> frozenset[str]:
    """Everything that no reason may show."""
    auth = settings.auth
    held = [*settings.headers.values(), *settings.signing_secret, auth.password, auth.token, auth.value]
    values = {secret.get_secret_value() for secret in held if secret is not None}
    urls = [settings.url.get_secret_value(), *([settings.proxy] if settings.proxy else [])]
    return frozenset(values.union(auth.headers().values(), *map(url_secrets, urls)))
