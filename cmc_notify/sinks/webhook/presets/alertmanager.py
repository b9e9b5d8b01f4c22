"""Prometheus' Alertmanager, v2 API: its labels identify an alert, and an end in the past resolves it.

The labels depend on the subject alone, so all events of a subject are one alert. Alertmanager resolves an
alert without an end after five minutes; the bridge's alerts last for ``lasts``, and a recovery sends the same
labels with an end in the past. Alertmanager keeps alerts in memory: after a restart it knows an alert again
from the next message about it.
https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, SecretStr, field_validator

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.outcome import SendOutcome
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.settings.base import Duration, Part
from cmc_notify.sinks.shorter_text import json_bytes
from cmc_notify.sinks.webhook.preset import Limits, MessageContent, Preset
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.ticket import ALERT_LABEL, KeyedTicketSink, TicketSettings, probe_outcome
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.sinks.webhook.webhook_client import WebhookClient

PATH = "/api/v2/alerts"
STATUS = "/api/v2/status"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OURS = frozenset({"alertname", "subject", "controller", "sink", "job", "serial", "feature_id"})
_NAMES = {
    "job": "CmcJobFailed",
    "failure": "CmcPushFailed",
    "controller": "CmcControllerFailed",
    "sink": "CmcNotifySinkFailing",
}
"""``alertname`` by the kind of the subject."""
_PARTS = {
    "job": ("controller", "job"),
    "failure": ("controller", "serial", "feature_id"),
    "controller": ("controller",),
    "sink": ("sink",),
}
_YEAR = 365 * 86400.0
_LONGEST_KEY = 1024


class AlertmanagerOptions(Part):
    """More settings of the alerts."""

    labels: dict[str, str] = Field(default={"severity": "error", "source": "cmc_notify"})
    """More labels, for its routes."""
    lasts: Annotated[Duration, Field(ge=600)] = _YEAR
    """Seconds that an alert fires if it is never resolved."""

    @field_validator("lasts")
    @classmethod
    def _in_the_calendar(cls, value: float) -> float:
        if value > 10 * _YEAR:
            raise ValueError("is longer than any alert needs; write at most 3650d")
        return value

    @field_validator("labels")
    @classmethod
    def _usable(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _LABEL.fullmatch(name) or name.startswith("__"):
                raise ValueError(f"{name!r} can't be a label's name; use letters, digits and underscores")
            if name in _OURS:
                raise ValueError(f"the label {name} is set by the bridge; remove it")
        return value


class AlertmanagerSettings(TicketSettings):
    """``preset: alertmanager``."""

    preset: Literal["alertmanager"] = "alertmanager"
    url: SecretStr
    """Alertmanager's URL, with its route prefix if it has one."""
    options: AlertmanagerOptions = AlertmanagerOptions()


class AlertmanagerSink(KeyedTicketSink):
    """Fires and resolves."""

    folder = "alertmanager"
    # No limit is documented, but notifiers have their own, and megabytes of annotation help nobody.
    limits = Limits(summary=1000, text=100_000, measure=json_bytes)

    def make_client(self, settings: PresetSettings) -> WebhookClient:
        """Return a client with basic or bearer authentication, as every webhook has it."""
        assert isinstance(settings, AlertmanagerSettings)
        self._options = settings.options
        return WebhookClient(settings)

    def key(self, subject: str) -> str:
        """Return the label ``subject``."""
        return ticket_key(subject, _LONGEST_KEY, prefix="")

    async def open_or_update(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Fire the alert, or update its texts."""
        return await self._post(message, content, client, record, fires=True)

    async def update_quietly(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Update the alert's texts. Nobody is notified before its routes repeat it."""
        return await self._post(message, content, client, record, fires=True)

    async def resolve(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Send the same labels with an end in the past."""
        return await self._post(message, content, client, record, fires=False)

    async def probe(self) -> SendOutcome:
        """Read Alertmanager's status."""
        return probe_outcome(await self.client.request("GET", self._root + STATUS))

    @property
    def _root(self) -> str:
        return self.base.removesuffix(PATH)

    async def _post(
        self,
        message: Message,
        content: MessageContent,
        client: WebhookClient,
        record: PartRecorder,
        *,
        fires: bool,
    ) -> SendOutcome:
        event, standing = message.event, message.posting
        notes = standing.notes if standing and standing.open else {}
        labels = _noted(notes.get("labels")) or self._labels(message.subject)
        # While a part recovers, the title still names the failure.
        summary = (
            notes.get("summary", content.summary) if message.purpose is Purpose.FOLLOW else content.summary
        )
        now = time.time()
        # An alert must not start after its end, whatever the clocks say.
        starts = notes.get("starts") or _rfc3339(now if fires else now - 1)
        alert: dict[str, Any] = {
            "labels": labels,
            "annotations": {"summary": summary, "description": content.text},
            "startsAt": min(starts, _rfc3339(now)),
            "endsAt": _rfc3339(now + self._options.lasts if fires else now),
        }
        if event.url:
            alert["generatorURL"] = event.url
        key = self.key(message.subject)
        kept = {"summary": summary, "labels": msgspec.json.encode(labels).decode(), "starts": starts}
        return await self.post_and_record(
            message,
            client,
            record,
            url=self._root + PATH,
            document=[alert],
            body=content.body,
            posting=Posting(reference=key, label=ALERT_LABEL, open=fires, notes=kept),
        )

    def _labels(self, subject: str) -> dict[str, str]:
        kind, _, rest = subject.partition(":")
        names = _PARTS.get(kind, ())
        # Of a failure's three parts only the middle one, the serial, may contain a colon.
        first, *others = rest.split(":", 1)
        values = [first, *(others[0].rsplit(":", len(names) - 2) if others else ())]
        parts = dict(zip(names, values, strict=True)) if len(values) == len(names) else {}
        if "job" in parts:  # people know a job by its id; the subject also tells jobs of one id apart
            parts["job"] = parts["job"].partition("-")[0]
        found = {"alertname": _NAMES.get(kind, "CmcNotify"), "subject": self.key(subject), **parts}
        # An empty label is the same as none.
        return {name: value for name, value in {**self._options.labels, **found}.items() if value}


def _noted(text: str | None) -> dict[str, str] | None:
    return msgspec.json.decode(text, type=dict[str, str]) if text else None


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


PRESET = Preset(settings=AlertmanagerSettings, build=AlertmanagerSink)
