"""Discord's webhooks: one message with one embed, and the complete list as a file if it does not fit.

No text can ping: ``allowed_mentions`` lets nobody be mentioned. Discord recognises no repeat of a webhook's
message, so a second copy after a lost response says that it may be a repeat.
https://discord.com/developers/docs/resources/webhook#execute-webhook
https://discord.com/developers/docs/resources/message#embed-object-embed-limits
"""

import secrets
from typing import Any, Literal

import msgspec

from cmc_notify.core.outcome import RetryLater, SendOutcome, Sent
from cmc_notify.core.text import markdown
from cmc_notify.net import safe
from cmc_notify.ports import Message, PartRecorder
from cmc_notify.sinks.fewer_failures import fit_failures
from cmc_notify.sinks.shorter_text import cut_text, utf16_length
from cmc_notify.sinks.webhook.preset import Limits, MessageContent, Preset, PresetSink
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.webhook_client import HttpResult, WebhookClient, service_outcome

LARGEST_FILE = 8_000_000
"""Bytes. A webhook's files may have 10 MiB (https://discord.com/developers/docs/reference#uploading-files)."""
_TITLE = 256
_COLOURS = {"error": 0xD92D20, "warning": 0xF79009, "info": 0x12B76A}


class DiscordSettings(PresetSettings):
    """``preset: discord``; Discord shows the webhook's ``url``."""

    preset: Literal["discord"] = "discord"


class DiscordSink(PresetSink):
    """Posts each message once per attempt."""

    folder = "discord"
    extension = "md"
    limits = Limits(summary=_TITLE, text=4096)

    def make_client(self, settings: PresetSettings) -> WebhookClient:
        """Return a client that sends forms of parts, so that a file can be one."""
        self._boundary = secrets.token_hex(16)
        kind = f"multipart/form-data; boundary={self._boundary}"
        return WebhookClient(settings, content_type=kind, error_text=_error_text)

    def content(self, message: Message) -> MessageContent:
        """Return the texts, and the complete list as a file if not every text is whole."""
        content = super().content(message)
        texts = sum(len(failure.error_text or "") for failure in message.event.failures)
        if texts <= self.limits.text:
            whole = self._renderer.render(self.folder, self.extension, message).text.strip("\n")
            if whole == content.text:
                return content
        file = fit_failures(message, self._listed, LARGEST_FILE)
        return msgspec.structs.replace(content, file=file)

    async def deliver(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Post one message."""
        del record  # a message has one part
        document = (
            content.body if content.body is not None else msgspec.json.encode(_document(message, content))
        )
        parts = [_part('name="payload_json"', "application/json", document)]
        if content.file is not None:
            job = message.event.job
            name = f"failures-job-{job.id}.txt" if job else f"{message.event.type}.txt"
            parts.append(
                _part(f'name="files[0]"; filename="{name}"', "text/plain; charset=utf-8", content.file)
            )
        mark = f"--{self._boundary}".encode()
        body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
        # Without it, Discord responds before it has accepted the message.
        address = f"{self.base}{'&' if '?' in self.base else '?'}wait=true"
        result = await client.request("POST", address, body, message_id=message.key, read=True)
        return _outcome(result)

    async def probe(self) -> SendOutcome:
        """Read the webhook, which its address alone allows."""
        result = await self.client.request("GET", self.base)
        return Sent(f"HTTP {result.status}") if isinstance(result.outcome, Sent) else result.outcome

    def preview_response(self, method: str, url: str) -> Any:
        """Return a message's id."""
        del method, url
        return {"id": "1"}

    def _listed(self, message: Message) -> bytes:
        return (
            self._renderer.render(self.folder, "txt", message).text.strip().encode("utf-8", "replace") + b"\n"
        )


def _document(message: Message, content: MessageContent) -> dict[str, Any]:
    event = message.event
    embed: dict[str, Any] = {
        # Escaped, a title may grow beyond its limit.
        "title": cut_text(markdown(content.summary), _TITLE, utf16_length),
        "description": content.text,
        "color": _COLOURS[event.severity],
        "timestamp": event.time,
    }
    if event.url:
        embed["url"] = event.url
    if content.file is not None:
        embed["footer"] = {"text": "The complete list is attached."}
    # A locked phone shows the content, not the embed.
    return {"content": markdown(content.summary), "embeds": [embed], "allowed_mentions": {"parse": []}}


def _part(disposition: str, kind: str, data: bytes) -> bytes:
    return f"Content-Disposition: form-data; {disposition}\r\nContent-Type: {kind}\r\n\r\n".encode() + data


def _outcome(result: HttpResult) -> SendOutcome:
    """Return the outcome; a rate limit's fractional seconds are in the body.

    https://discord.com/developers/docs/topics/rate-limits#exceeding-a-rate-limit
    """
    document, outcome = result.document, service_outcome(result)
    if isinstance(outcome, Sent):
        found = document.get("id") if isinstance(document, dict) else None
        return Sent(f"message {found}" if found else f"HTTP {result.status}")
    if isinstance(outcome, RetryLater) and isinstance(document, dict):
        wait = document.get("retry_after")
        if isinstance(wait, int | float) and wait >= 0:
            return RetryLater(outcome.reason, float(wait))
    return outcome


def _error_text(text: str) -> str:
    """Return the words of ``{"message": …, "code": …, "errors": …}``."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    if not isinstance(found, dict) or "message" not in found:
        return text
    errors = msgspec.json.encode(found["errors"]).decode() if found.get("errors") else ""
    return safe(" ".join(filter(None, (str(found["message"]), f"({found.get('code', 0)})", errors))))


PRESET = Preset(settings=DiscordSettings, build=DiscordSink, extensions=("subject", "md", "txt", "json"))
