"""ServiceNow Event Management: events with one ``message_key`` are one alert; a clear event closes it.

A repeated event only raises its alert's count.
https://www.servicenow.com/docs/bundle/paris-it-operations-management/page/product/event-management/concept/c_EMIntegrateRequirementEvent.html
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

from cmc_notify.core.events import Event
from cmc_notify.core.outcome import SendOutcome
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.settings.base import Part
from cmc_notify.sinks.shorter_text import label
from cmc_notify.sinks.webhook.preset import Limits, MessageContent, Preset
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.ticket import ALERT_LABEL, KeyedTicketSink, TicketSettings, probe_outcome
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.sinks.webhook.webhook_client import WebhookClient

PATH = "/api/global/em/jsonv2"
_CLEAR = 0
_FIELD = 100
_MESSAGE_KEY = 1024

Name = Annotated[str, Field(min_length=1, max_length=_FIELD)]


class ServiceNowOptions(Part):
    """The options of ``preset: servicenow``."""

    source: Name = "cmc-notify"
    """The event source, by which event rules recognise the bridge's events."""
    event_class: Name = "Riverbed CMC"
    """The source instance."""
    severity: Annotated[int, Field(ge=1, le=5)] = 2
    """The severity of a failure: 1 critical, 2 major, 3 minor, 4 warning, 5 info."""


class ServiceNowSettings(TicketSettings):
    """``preset: servicenow``."""

    preset: Literal["servicenow"] = "servicenow"
    options: ServiceNowOptions = ServiceNowOptions()


class ServiceNowSink(KeyedTicketSink):
    """Sends events that open and events that clear."""

    folder = "servicenow"
    limits = Limits(summary=_FIELD, text=4000)

    def make_client(self, settings: PresetSettings) -> WebhookClient:
        """Return a client with basic or bearer authentication, as every webhook has it."""
        assert isinstance(settings, ServiceNowSettings)
        self._options = settings.options
        return WebhookClient(settings, error_text=error_text_of)

    def key(self, subject: str) -> str:
        """Return the ``message_key``."""
        return ticket_key(subject, _MESSAGE_KEY)

    async def open_or_update(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Send an event that opens the alert or updates it."""
        return await self._event(message, content, client, record, opens=True)

    async def update_quietly(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Send an event with the alert's severity, which updates its texts."""
        return await self._event(message, content, client, record, opens=True)

    async def resolve(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Send an event that clears; without an alert of the key nothing happens."""
        return await self._event(message, content, client, record, opens=False)

    async def probe(self) -> SendOutcome:
        """Read one event. A user who may only write is refused here, and is good enough."""
        url = f"{self._root}/api/now/table/em_event?sysparm_limit=1&sysparm_fields=sys_id"
        return probe_outcome(await self.client.request("GET", url), also={403})

    @property
    def _root(self) -> str:
        return self.base.removesuffix(PATH)

    async def _event(
        self,
        message: Message,
        content: MessageContent,
        client: WebhookClient,
        record: PartRecorder,
        *,
        opens: bool,
    ) -> SendOutcome:
        key, event, options = self.key(message.subject), message.event, self._options
        failure = event.failures[0] if len(event.failures) == 1 else None
        info = {"event": event.type.value, "controller": event.controller, "link": event.url}
        about: dict[str, Any] = {name: value for name, value in info.items() if value}
        if event.job:
            about["job"] = str(event.job.id)
        entry = {
            "source": options.source,
            "event_class": options.event_class,
            "node": label((failure and failure.serial) or event.controller or "cmc-notify", _FIELD),
            "resource": label((failure and failure.feature) or event.sink or "", _FIELD),
            "metric_name": event.type.value,
            "type": _kind(event),
            "message_key": key,
            "severity": str(options.severity if opens else _CLEAR),
            "description": content.text,
            "additional_info": msgspec.json.encode(about).decode(),
            "time_of_event": datetime.fromisoformat(event.time).strftime("%Y-%m-%d %H:%M:%S"),
            "resolution_state": "New" if opens else "Closing",
        }
        return await self.post_and_record(
            message,
            client,
            record,
            url=self._root + PATH,
            document={"records": [entry]},
            body=content.body,
            posting=Posting(reference=key, label=ALERT_LABEL, open=opens),
        )


def error_text_of(text: str) -> str:
    """Return the words of ``{"error": {"message": …, "detail": …}, "status": "failure"}``."""
    try:
        found = msgspec.json.decode(text)["error"]
        return ": ".join(filter(None, (found["message"], found.get("detail"))))
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return text


def _kind(event: Event) -> str:
    return {"controller": "CMC", "sink": "Notification"}.get(
        event.type.partition(".")[0], "Configuration push"
    )


PRESET = Preset(settings=ServiceNowSettings, build=ServiceNowSink)
