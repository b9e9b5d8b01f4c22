"""Opsgenie's Alert API: one alert for each alias, closed by it; what comes in between is a note.

Creating with the alias of an open alert only counts that one up, so the news goes into a note as well. The
API takes requests first and does them later (202). Opsgenie ends in 2027, as announced.
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
from cmc_notify.sinks.webhook.preset import Limits, Preset, Words
from cmc_notify.sinks.webhook.settings import PresetSettings, check_header
from cmc_notify.sinks.webhook.ticket import ALERT, DONE, KeyedTicketSink, TicketSettings, reached
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.sinks.webhook.webhook_client import NO_SERVICE, Line

PATH = "/v2/alerts"
_ALIAS = 512
_ENTITY = 512
_ALERT = "alert"
"""The part of a message that counted an open alert up; its note is still to come."""

Priority = Literal["P1", "P2", "P3", "P4", "P5"]


class OpsgeniePriorities(Part):
    """How grave what is told is, in Opsgenie's words."""

    error: Priority = "P2"
    warning: Priority = "P3"
    info: Priority = "P5"

    def of(self, severity: Severity) -> Priority:
        """The priority of an event."""
        found: Priority = getattr(self, severity)
        return found


class OpsgenieResponder(Part):
    """Who is told: by exactly one of name, username (of a user) and id."""

    type: Literal["team", "user", "escalation", "schedule"]
    name: str | None = None
    username: str | None = None
    id: str | None = None

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        # Opsgenie says 202 first and refuses later, where nobody sees it: the alert would be lost.
        called = "username" if self.type == "user" else "name"
        given = self.document().keys() - {"type"}
        if len(given) != 1 or not given <= {called, "id"}:
            raise ValueError(f"a responder of type {self.type} needs either {called} or id, and nothing else")
        return self

    def document(self) -> dict[str, str]:
        """As the API wants it."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class OpsgenieOptions(Part):
    """What Opsgenie needs besides."""

    api_key: SecretStr
    """Of an API integration; goes as ``Authorization: GenieKey …``."""
    priority: OpsgeniePriorities = OpsgeniePriorities()
    responders: Annotated[tuple[OpsgenieResponder, ...], Field(max_length=50)] = ()
    """Without any, whom the integration names."""
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
    """Creates, notes and closes."""

    folder = "opsgenie"
    limits = Limits(summary=130, text=15_000)

    def connect(self, settings: PresetSettings) -> Line:
        """The key is a header of its own kind."""
        assert isinstance(settings, OpsgenieSettings)
        self._options = settings.options
        key = settings.options.api_key.get_secret_value()
        return Line(settings, headers={"Authorization": f"GenieKey {key}"}, secrets=[key], words=_words)

    def key(self, subject: str) -> str:
        """The alias."""
        return ticket_key(subject, _ALIAS)

    async def tell(self, message: Message, words: Words, line: Line, record: PartRecorder) -> SendOutcome:
        """Create; where the alert was open already, what is new goes into a note."""
        posting = self._posting(message, open_=True)
        if _ALERT not in message.parts:
            content = words.body or msgspec.json.encode(self._alert(message, words))
            reply = await line.ask("POST", self._address, content, message_id=message.key, read=True)
            if not isinstance(reply.outcome, Sent):
                return reply.outcome
            if reply.is_page:
                return RetryLater(NO_SERVICE)
            stood = message.posting is not None and message.posting.open
            await record(_ALERT if stood else DONE, posting.reference, posting=posting)
            if not stood:
                return Sent(posting.reference)
        return await self._note(message, words, line, record)

    async def follow(self, message: Message, words: Words, line: Line, record: PartRecorder) -> SendOutcome:
        """A note, which tells nobody."""
        return await self._note(message, words, line, record)

    async def resolve(self, message: Message, words: Words, line: Line, record: PartRecorder) -> SendOutcome:
        """Close, with the recoveries as a note; an alias that is not open is let be."""
        return await self.settle(
            message,
            line,
            record,
            url=self._of(message, "close"),
            document={"source": "cmc-notify", "note": words.text},
            body=words.body,
            posting=self._posting(message, open_=False),
        )

    async def probe(self) -> SendOutcome:
        """Count alerts; a key that may only create is told so, and is good enough."""
        return reached(await self.line.ask("GET", f"{self._address}/count"), also={403})

    @property
    def _address(self) -> str:
        return self.base.removesuffix(PATH) + PATH

    def _of(self, message: Message, action: str) -> str:
        alias = quote(self.key(message.subject), safe="")
        return f"{self._address}/{alias}/{action}?identifierType=alias"

    def _posting(self, message: Message, *, open_: bool) -> Posting:
        alias = self.key(message.subject)
        return Posting(reference=alias, label=ALERT, open=open_)

    async def _note(self, message: Message, words: Words, line: Line, record: PartRecorder) -> SendOutcome:
        return await self.settle(
            message,
            line,
            record,
            url=self._of(message, "notes"),
            document={"source": "cmc-notify", "note": words.text},
            posting=self._posting(message, open_=True),
            step="note",
        )

    def _alert(self, message: Message, words: Words) -> dict[str, Any]:
        event, options = message.event, self._options
        details = {"event": event.type.value, "controller": event.controller, "link": event.url}
        document: dict[str, Any] = {
            "message": words.summary,
            "alias": self.key(message.subject),
            "description": words.text,
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


def _words(text: str) -> str:
    """``{"message": …, "errors": {field: …}}`` in words."""
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
