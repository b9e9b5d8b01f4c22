"""The webhook sink without a preset: one request per message, signed by Standard Webhooks 1.0.

Guarantee: at least once, every attempt under the same ``webhook-id`` (the delivery's key), by which a
receiver recognises a repeat; the document arrives exactly as rendered, and says so where it is not whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import SecretStr, field_validator, model_validator

from cmc_notify.core.outcome import Rejected, SendOutcome, Sent
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.settings.base import SinkSettings
from cmc_notify.settings.suggestions import did_you_mean
from cmc_notify.sinks.fewer_failures import fit, fit_aside
from cmc_notify.sinks.webhook.presets import PRESETS
from cmc_notify.sinks.webhook.settings import EndpointSettings, check_header
from cmc_notify.sinks.webhook.webhook_client import Line, host_of, receipt_of, too_large

_ONLY_POST = {404, 405, 501}
"""How receivers that know no HEAD answer it."""


class WebhookSettings(EndpointSettings):
    """``sinks.NAME`` with ``type: webhook`` and no preset."""

    presets: ClassVar[Mapping[str, type[SinkSettings]]] = {
        name: preset.settings for name, preset in PRESETS.items()
    }

    preset: None = None
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    content_type: str = "application/json"
    """For a template of the user's own that writes something else."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        given = data if isinstance(data, dict) else {}
        named, known = given.get("preset"), ", ".join(sorted(cls.presets))
        if named is not None:
            hint = did_you_mean(str(named), cls.presets)
            raise ValueError(f"preset: no such preset; {f'{hint} ' if hint else ''}(known here: {known})")
        if "options" in given:
            raise ValueError(f"preset: is missing, which options belong to; write one of {known}")
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
        self._line = Line(settings, content_type=settings.content_type)

    @property
    def name(self) -> str:
        """Its name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:  # noqa: ARG002  it has one part
        """One signed request. A lost answer is Unclear; the next attempt shows the same ``webhook-id``."""
        body = await fit_aside(message, self._document, self._settings.max_body)
        if body is None:
            return Rejected(too_large(self._settings.max_body))
        return receipt_of(
            await self._line.ask(self._settings.method, self._url, body, message_id=message.key)
        )

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """The request's head, where what only an attempt knows and what is secret is named, and its body."""
        body = fit(message, self._document, self._settings.max_body)
        head = self._line.head(self._settings.method, f"{host_of(self._url)}/***", message.key)
        whole = too_large(self._settings.max_body) if body is None else body.decode("utf-8", "replace")
        return [PreviewDocument("request.txt", head), PreviewDocument("body.json", whole)]

    async def probe(self) -> SendOutcome:
        """Ask for the headers of the address, which tells nobody anything.

        Many receivers know only POST: any answer but a refusal of the credentials, a redirect or a
        server's fault counts as reached, and the receipt shows it.
        """
        reply = await self._line.ask("HEAD", self._url)
        if reply.status is None:
            return reply.outcome
        if isinstance(reply.outcome, Sent):
            return Sent(f"HEAD: HTTP {reply.status}")
        if isinstance(reply.outcome, Rejected) or reply.status in _ONLY_POST:
            return Sent(f"it answers HEAD with HTTP {reply.status}, which says nothing about POST")
        return reply.outcome

    async def close(self) -> None:
        """End all connections."""
        await self._line.close()

    def _document(self, message: Message) -> bytes:
        return self._renderer.render("webhook", "json", message).text.encode("utf-8", "replace")
