"""PagerDuty's Events API v2: a trigger opens an alert or adds to the open one, a resolve closes it.

Each is one request under one ``dedup_key``, which PagerDuty recognises; a trigger after a resolve opens a new
incident. PagerDuty has no quiet update: a trigger would page again after somebody has resolved by hand, so
an update that must not notify anybody is left out.
https://developer.pagerduty.com/docs/send-alert-event
"""

import re
from typing import Any, Literal

import msgspec
from pydantic import Field, SecretStr, field_validator

from cmc_notify.core.events import Severity
from cmc_notify.core.outcome import Blocked, Rejected, SendOutcome, Sent
from cmc_notify.net import safe
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.settings.base import Part
from cmc_notify.sinks.shorter_text import json_bytes, label
from cmc_notify.sinks.webhook.preset import Limits, MessageContent, Preset
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.ticket import ALERT_LABEL, KeyedTicketSink, TicketSettings, probe_outcome
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.sinks.webhook.webhook_client import WebhookClient

PATH = "/v2/enqueue"
SEVERITY: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "info"}
_DEDUP_KEY = 255
_ROUTING_KEY = 32
_KEY_REFUSED = re.compile(r"routing[ _]key", re.IGNORECASE)
"""Matches a refused key only: a feature can be called Routing, and be quoted in a refusal of one event."""


class PagerDutyOptions(Part):
    """The options of ``preset: pagerduty``."""

    routing_key: SecretStr
    """The integration key of a service's "Events API V2" integration."""
    severity: Literal["critical", "error", "warning", "info"] = "error"
    """The severity of a failure."""

    @field_validator("routing_key")
    @classmethod
    def _whole(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if len(text) != _ROUTING_KEY or not text.isalnum() or not text.isascii():
            raise ValueError(
                f"must be the {_ROUTING_KEY} letters and digits of an Events API V2 integration key; "
                f"copy it again"
            )
        return value


class PagerDutySettings(TicketSettings):
    """``preset: pagerduty``."""

    preset: Literal["pagerduty"] = "pagerduty"
    url: SecretStr = SecretStr("https://events.pagerduty.com")
    """``https://events.eu.pagerduty.com`` for accounts in the EU service region."""
    options: PagerDutyOptions = Field()


class PagerDutySink(KeyedTicketSink):
    """Triggers and resolves alerts."""

    folder = "pagerduty"
    # 512 KB for the whole event: https://developer.pagerduty.com/docs/events-api-v2-overview
    limits = Limits(summary=1024, text=400_000, measure=json_bytes)

    def make_client(self, settings: PresetSettings) -> WebhookClient:
        """Return a client that hides the routing key: it is in the body and may come back in a refusal."""
        assert isinstance(settings, PagerDutySettings)
        self._options = settings.options
        return WebhookClient(
            settings, secrets=[settings.options.routing_key.get_secret_value()], error_text=_error_text
        )

    def key(self, subject: str) -> str:
        """Return the ``dedup_key``."""
        return ticket_key(subject, _DEDUP_KEY)

    async def open_or_update(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Trigger: open an alert, or add to the open one."""
        return await self._event(message, content, client, record, action="trigger")

    async def update_quietly(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Send nothing: PagerDuty has no quiet update."""
        del message, content, client, record
        return Sent("PagerDuty has no quiet update")

    async def resolve(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Resolve the alert. For a key that is not open PagerDuty does nothing."""
        return await self._event(message, content, client, record, action="resolve")

    async def probe(self) -> SendOutcome:
        """Test the connection; without an event nothing can test the key."""
        return probe_outcome(await self.client.request("GET", self._address), also={400, 404, 405})

    @property
    def _address(self) -> str:
        return self.base.removesuffix(PATH) + PATH

    async def _event(
        self,
        message: Message,
        content: MessageContent,
        client: WebhookClient,
        record: PartRecorder,
        *,
        action: str,
    ) -> SendOutcome:
        key = self.key(message.subject)
        event = message.event
        document: dict[str, Any] = {
            "routing_key": self._options.routing_key.get_secret_value(),
            "event_action": action,
            "dedup_key": key,
            "payload": {
                "summary": content.summary,
                "source": event.controller or "cmc-notify",
                "severity": self._options.severity if event.severity == "error" else SEVERITY[event.severity],
                "timestamp": event.time,
                "class": event.type.value,
                "custom_details": {"text": content.text},
            },
            "client": "cmc-notify",
        }
        if len(event.failures) == 1 and (feature := event.failures[0].feature):
            document["payload"]["component"] = label(feature)
        if event.url:
            document["client_url"] = event.url
            document["links"] = [{"href": event.url, "text": "All details"}]
        outcome = await self.post_and_record(
            message,
            client,
            record,
            url=self._address,
            document=document,
            body=content.body,
            posting=Posting(reference=key, label=ALERT_LABEL, open=action == "trigger"),
        )
        if isinstance(outcome, Rejected) and _KEY_REFUSED.search(outcome.reason):
            return Blocked(outcome.reason)  # no event would be accepted
        return outcome


def _error_text(text: str) -> str:
    """Return the words of ``{"status": "invalid event", "message": …, "errors": […]}``."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    if not isinstance(found, dict):
        return text
    errors = found.get("errors")
    listed = "; ".join(map(str, errors)) if isinstance(errors, list) else ""
    return safe(": ".join(filter(None, (str(found.get("message") or ""), listed)))) or text


PRESET = Preset(settings=PagerDutySettings, build=PagerDutySink)
