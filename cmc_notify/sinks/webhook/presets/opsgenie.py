"""Opsgenie's Alert API: one alert for each alias, closed by its alias; updates are notes.

Creating an alert with the alias of an open one only counts that one up, so the event also goes into a note.
The API accepts requests first and processes them later (202). Opsgenie ends in 2027, as announced.
https://docs.opsgenie.com/docs/alert-api
"""

from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from cmc_notify.core.events import Severity
from cmc_notify.core.outcome import RetryLater, SendOutcome, Sent
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.settings.base import Part
from cmc_notify.sinks.shorter_text import label
from cmc_notify.sinks.webhook.preset import Limits, MessageContent, Preset
from cmc_notify.sinks.webhook.settings import PresetSettings, check_header
from cmc_notify.sinks.webhook.ticket import ALERT_LABEL, DONE, KeyedTicketSink, TicketSettings, probe_outcome
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.sinks.webhook.webhook_client import NOT_THE_SERVICE, WebhookClient

PATH = "/v2/alerts"
_ALIAS = 512
_ENTITY = 512
_ALERT_PART = "alert"
"""The part for counting up an open alert; its note is still missing."""

Priority = Literal["P1", "P2", "P3", "P4", "P5"]


class OpsgeniePriorities(Part):
    """The priorities by severity."""

    error: Priority = "P2"
    warning: Priority = "P3"
    info: Priority = "P5"

    def of(self, severity: Severity) -> Priority:
        """Return the priority of an event."""
        found: Priority = getattr(self, severity)
        return found


class OpsgenieResponder(Part):
    """One responder, by exactly one of name, username (of a user) and id."""

    type: Literal["team", "user", "escalation", "schedule"]
    name: str | None = None
    username: str | None = None
    id: str | None = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        # Opsgenie responds 202 and refuses later, where nobody sees it: the alert would be lost.
        called = "username" if self.type == "user" else "name"
        given = self.document().keys() - {"type"}
        if len(given) != 1 or not given <= {called, "id"}:
            raise ValueError(f"a responder of type {self.type} needs either {called} or id, and nothing else")
        return self

    def document(self) -> dict[str, str]:
        """Return the responder in the API's format."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class OpsgenieOptions(Part):
    """The options of ``preset: opsgenie``."""

    api_key: SecretStr
    """The key of an API integration; sent as ``Authorization: GenieKey …``."""
    priority: OpsgeniePriorities = OpsgeniePriorities()
    responders: Annotated[tuple[OpsgenieResponder, ...], Field(max_length=50)] = ()
    """Without any, the integration chooses them."""
    tags: Annotated[tuple[Annotated[str, Field(max_length=50)], ...], Field(max_length=20)] = ("cmc-notify",)

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        check_header("Authorization", value)
        return value


class OpsgenieSettings(TicketSettings):
    """``preset: opsgenie``."""

    preset: Literal["opsgenie"] = "opsgenie"
    url: SecretStr = SecretStr("https://api.opsgenie.com")
    """``https://api.eu.opsgenie.com`` for accounts in the EU."""
    options: OpsgenieOptions = Field()


class OpsgenieSink(KeyedTicketSink):
    """Creates alerts, adds notes and closes."""

    folder = "opsgenie"
    limits = Limits(summary=130, text=15_000)

    def make_client(self, settings: PresetSettings) -> WebhookClient:
        """Return a client with Opsgenie's own header for the key."""
        assert isinstance(settings, OpsgenieSettings)
        self._options = settings.options
        key = settings.options.api_key.get_secret_value()
        return WebhookClient(
            settings, headers={"Authorization": f"GenieKey {key}"}, secrets=[key], error_text=_error_text
        )

    def key(self, subject: str) -> str:
        """Return the alias."""
        return ticket_key(subject, _ALIAS)

    async def open_or_update(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Create the alert; if it was open already, add the event as a note."""
        posting = self._posting(message, open_=True)
        if _ALERT_PART not in message.parts:
            body = content.body or msgspec.json.encode(self._alert(message, content))
            result = await client.request("POST", self._address, body, message_id=message.key, read=True)
            if not isinstance(result.outcome, Sent):
                return result.outcome
            if result.is_html:
                return RetryLater(NOT_THE_SERVICE)
            was_open = message.posting is not None and message.posting.open
            await record(_ALERT_PART if was_open else DONE, posting.reference, posting=posting)
            if not was_open:
                return Sent(posting.reference)
        return await self._note(message, content, client, record)

    async def update_quietly(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Add a note, which notifies nobody."""
        return await self._note(message, content, client, record)

    async def resolve(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Close the alert with the recoveries as a note. For an alias that is not open nothing happens."""
        return await self.post_and_record(
            message,
            client,
            record,
            url=self._of(message, "close"),
            document={"source": "cmc-notify", "note": content.text},
            body=content.body,
            posting=self._posting(message, open_=False),
        )

    async def probe(self) -> SendOutcome:
        """Count the alerts. A key that may only create is refused here, and is good enough."""
        return probe_outcome(await self.client.request("GET", f"{self._address}/count"), also={403})

    @property
    def _address(self) -> str:
        return self.base.removesuffix(PATH) + PATH

    def _of(self, message: Message, action: str) -> str:
        alias = quote(self.key(message.subject), safe="")
        return f"{self._address}/{alias}/{action}?identifierType=alias"

    def _posting(self, message: Message, *, open_: bool) -> Posting:
        alias = self.key(message.subject)
        return Posting(reference=alias, label=ALERT_LABEL, open=open_)

    async def _note(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        return await self.post_and_record(
            message,
            client,
            record,
            url=self._of(message, "notes"),
            document={"source": "cmc-notify", "note": content.text},
            posting=self._posting(message, open_=True),
            step="note",
        )

    def _alert(self, message: Message, content: MessageContent) -> dict[str, Any]:
        event, options = message.event, self._options
        details = {"event": event.type.value, "controller": event.controller, "link": event.url}
        document: dict[str, Any] = {
            "message": content.summary,
            "alias": self.key(message.subject),
            "description": content.text,
            "priority": options.priority.of(event.severity),
            "source": "cmc-notify",
            "entity": label(event.controller or event.sink or "cmc-notify", _ENTITY),
            "details": {name: value for name, value in details.items() if value},
        }
        if options.responders:
            document["responders"] = [each.document() for each in options.responders]
        if options.tags:
            document["tags"] = list(options.tags)
        return document


def _error_text(text: str) -> str:
    """Return the words of ``{"message": …, "errors": {field: …}}``."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    if not isinstance(found, dict) or not found.get("message"):
        return text
    errors = found.get("errors")
    listed = "; ".join(f"{name}: {what}" for name, what in errors.items()) if isinstance(errors, dict) else ""
    return ": ".join(filter(None, (str(found["message"]), listed)))


PRESET = Preset(settings=OpsgenieSettings, build=OpsgenieSink)
