"""The webhook sink without a preset: one request per message, signed by Standard Webhooks 1.0.

Guarantee: at least once, every attempt under the same ``webhook-id`` (the delivery's key), by which a
receiver recognises a repeat. The document arrives exactly as rendered, and says so if it is not whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import SecretStr, field_validator, model_validator

from cmc_notify.core.outcome import Rejected, SendOutcome, Sent
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.settings.base import SinkSettings
from cmc_notify.settings.suggestions import did_you_mean
from cmc_notify.sinks.fewer_failures import fit_failures, fit_failures_in_thread
from cmc_notify.sinks.webhook.presets import PRESETS
from cmc_notify.sinks.webhook.settings import EndpointSettings, check_header
from cmc_notify.sinks.webhook.webhook_client import WebhookClient, host_of, too_large, with_status_receipt

_ONLY_POST = {404, 405, 501}
"""The statuses of receivers that do not support HEAD."""


class WebhookSettings(EndpointSettings):
    """``sinks.NAME`` with ``type: webhook`` and no preset."""

    presets: ClassVar[Mapping[str, type[SinkSettings]]] = {
        name: preset.settings for name, preset in PRESETS.items()
    }

    preset: None = None
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    content_type: str = "application/json"
    """For a user's own template that does not write JSON."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        given = data if isinstance(data, dict) else {}
        named, known = given.get("preset"), ", ".join(sorted(cls.presets))
        if named is not None:
            hint = did_you_mean(str(named), cls.presets)
            raise ValueError(f"preset: no such preset; {f'{hint} ' if hint else ''}(known here: {known})")
        if "options" in given:
            raise ValueError(f"preset: is missing, but options need one; write one of {known}")
        return data

    @field_validator("content_type")
    @classmethod
    def _one_line(cls, value: str) -> str:
        check_header("content-type", SecretStr(value))
        return value


class WebhookSink:
    """Posts each message once per attempt. Safe to use from several tasks."""

    def __init__(self, name: str, settings: WebhookSettings, renderer: Renderer) -> None:
        self._name = name
        self._settings = settings
        self._renderer = renderer
        self._url = settings.url.get_secret_value()
        self._client = WebhookClient(settings, content_type=settings.content_type)

    @property
    def name(self) -> str:
        """The sink's name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:  # noqa: ARG002  it has one part
        """Send one signed request. After a lost response the next attempt has the same ``webhook-id``."""
        body = await fit_failures_in_thread(message, self._document, self._settings.max_body)
        if body is None:
            return Rejected(too_large(self._settings.max_body))
        return with_status_receipt(
            await self._client.request(self._settings.method, self._url, body, message_id=message.key)
        )

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """Return the request's head, with placeholders for secrets and attempt values, and its body."""
        body = fit_failures(message, self._document, self._settings.max_body)
        head = self._client.request_head(self._settings.method, f"{host_of(self._url)}/***", message.key)
        whole = too_large(self._settings.max_body) if body is None else body.decode("utf-8", "replace")
        return [PreviewDocument("request.txt", head), PreviewDocument("body.json", whole)]

    async def probe(self) -> SendOutcome:
        """Send a HEAD request, which notifies nobody.

        Many receivers support only POST: every response counts as reached, except refused credentials,
        a redirect and a server's fault. The receipt shows the status.
        """
        result = await self._client.request("HEAD", self._url)
        if result.status is None:
            return result.outcome
        if isinstance(result.outcome, Sent):
            return Sent(f"HEAD: HTTP {result.status}")
        if isinstance(result.outcome, Rejected) or result.status in _ONLY_POST:
            return Sent(f"it responds to HEAD with HTTP {result.status}; only a message can test POST")
        return result.outcome

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    def _document(self, message: Message) -> bytes:
        return self._renderer.render("webhook", "json", message).text.encode("utf-8", "replace")
