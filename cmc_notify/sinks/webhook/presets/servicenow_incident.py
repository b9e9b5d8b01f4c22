"""ServiceNow's incident table: one incident for each ``correlation_id``, which only we keep unique.

``correlation_display`` holds the key of the message that wrote last, in the same request as what it wrote: so
a change whose answer was lost is recognised.
https://www.servicenow.com/docs/bundle/xanadu-api-reference/page/integrate/inbound-rest/concept/c_TableAPI.html
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from cmc_notify.core.outcome import Blocked, Rejected, SendOutcome
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.settings.base import Part
from cmc_notify.sinks.webhook.preset import Limits, Preset, Words
from cmc_notify.sinks.webhook.presets.servicenow import words_of
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.ticket import TicketSettings, reached
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.sinks.webhook.ticket_lookup import (
    Found,
    Halt,
    LookupTicketSink,
    inner,
    objects,
    read,
    search,
    unreadable,
    write,
)
from cmc_notify.sinks.webhook.webhook_client import Line

TABLE = "/api/now/table/incident"
_CORRELATION = 100
_DISPLAY = "cmc-notify "
_FIELDS = "sys_id,number,state,correlation_id,correlation_display"
_IN_PROGRESS, _RESOLVED, _CLOSED, _CANCELED = "2", "6", "7", "8"
"""``incident.state`` as ServiceNow delivers it."""
_FINAL = frozenset({_CLOSED, _CANCELED})
_ENDED = _FINAL | {_RESOLVED}
_RULE = re.compile(r"Data Policy Exception|aborted by Business Rule", re.IGNORECASE)
"""A 403 "can also be caused by … business rule or data policy constraints", says the page on the Table API's
status codes: what they forbid with one incident, they may allow with all others.
"""

Text = Annotated[str, Field(min_length=1, max_length=200)]
Scale = Annotated[int, Field(ge=1, le=3)]


class ServiceNowIncidentOptions(Part):
    """What an incident is made with besides. Names or sys_ids, as the instance takes them."""

    assignment_group: Text | None = None
    caller_id: Text | None = None
    category: Text | None = None
    business_service: Text | None = None
    urgency: Scale = 2
    """1 high, 2 medium, 3 low."""
    impact: Scale = 2
    """1 high, 2 medium, 3 low; the priority follows from both."""
    close_code: Text = "Solution provided"
    """A resolution code that the instance knows; without one it refuses to resolve."""


class ServiceNowIncidentSettings(TicketSettings):
    """``preset: servicenow-incident``."""

    preset: Literal["servicenow-incident"] = "servicenow-incident"
    options: ServiceNowIncidentOptions = ServiceNowIncidentOptions()


class ServiceNowIncidentSink(LookupTicketSink):
    """Creates, adds work notes, resolves, and takes a resolved incident up again."""

    folder = "servicenow-incident"
    limits = Limits(summary=160, text=4000)

    def connect(self, settings: PresetSettings) -> Line:
        """Basic or bearer authentication as every webhook has it."""
        assert isinstance(settings, ServiceNowIncidentSettings)
        self._options = settings.options
        return Line(settings, words=words_of)

    def rehearsed(self, method: str, url: str) -> Any:
        """No incident yet, or the one that stands."""
        found = {"sys_id": "sample", "number": "INC0012345", "state": _IN_PROGRESS, "correlation_display": ""}
        return {"result": [] if method == "GET" and "sysparm_query" in url else found}

    async def look(self, posting: Posting, line: Line) -> Found | None:
        """By its sys_id."""
        url = f"{self._table}/{quote(posting.reference, safe='')}?sysparm_fields={_FIELDS}"
        answer = await read(line, url)
        return self._found(inner(answer, "result"))

    async def find(self, message: Message, line: Line) -> Found | None:
        """By its correlation_id, which is compared once more: an instance leaves a condition out whose field
        the account can't read, and answers with other people's incidents.
        """
        key = _key(message)
        query = quote(f"correlation_id={key}^ORDERBYDESCsys_created_on", safe="")
        answer = await search(
            line, f"{self._table}?sysparm_query={query}&sysparm_fields={_FIELDS}&sysparm_limit=50"
        )
        every = [
            found
            for entry in objects(inner(answer, "result"))
            if entry.get("correlation_id") == key and (found := self._found(entry))
        ]
        return next((found for found in every if found.open), every[0] if every else None)

    async def create(self, message: Message, words: Words, line: Line) -> Found:
        """A new incident."""
        options = self._options
        chosen = options.model_dump(exclude={"close_code"}, exclude_none=True)
        document = {
            **{name: str(value) for name, value in chosen.items()},
            "short_description": words.summary,
            "description": words.text,
            "correlation_id": _key(message),
            "correlation_display": _written(message),
        }
        answer = await write(line, "POST", self._table, words.body or document, message_id=message.key)
        found = self._found(inner(answer, "result"))
        if found is None:
            raise unreadable("an incident was made")
        return found

    async def add(self, found: Found, message: Message, words: Words, line: Line) -> None:
        """A work note."""
        await self._change(found, message, line, {"work_notes": words.text})

    async def reopen(self, found: Found, message: Message, words: Words, line: Line) -> bool:
        """Resolved can be taken up again; closed and canceled are final."""
        if found.final:
            return False
        await self._change(found, message, line, {"state": _IN_PROGRESS, "work_notes": words.text})
        return True

    async def close_ticket(
        self,
        found: Found,
        message: Message,
        words: Words,
        line: Line,
        record: PartRecorder,  # noqa: ARG002  it is one request
    ) -> None:
        """Resolve with the recoveries as notes."""
        resolved = {"state": _RESOLVED, "close_code": self._options.close_code, "close_notes": words.text}
        await self._change(found, message, line, resolved)

    async def probe(self) -> SendOutcome:
        """Read one incident."""
        return reached(await self.line.ask("GET", f"{self._table}?sysparm_limit=1&sysparm_fields=sys_id"))

    @property
    def _table(self) -> str:
        return self.base.removesuffix(TABLE) + TABLE

    async def _change(self, found: Found, message: Message, line: Line, fields: dict[str, str]) -> None:
        url = f"{self._table}/{quote(found.reference, safe='')}?sysparm_fields={_FIELDS}"
        document = {**fields, "correlation_display": _written(message)}
        try:
            await write(line, "PATCH", url, document, message_id=message.key)
        except Halt as halt:
            if isinstance(halt.outcome, Blocked) and _RULE.search(halt.outcome.reason):
                raise Halt(Rejected(f"{found.label}: {halt.outcome.reason}")) from halt
            raise

    def _found(self, entry: Any) -> Found | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("sys_id"), str):
            return None
        display = str(entry.get("correlation_display") or "")
        state = str(entry.get("state"))
        return Found(
            reference=entry["sys_id"],
            label=str(entry.get("number") or entry["sys_id"]),
            url=f"{self.base.removesuffix(TABLE)}/incident.do?sys_id={entry['sys_id']}",
            open=state not in _ENDED,
            final=state in _FINAL,
            written_by=display.removeprefix(_DISPLAY) if display.startswith(_DISPLAY) else None,
        )


def _key(message: Message) -> str:
    return ticket_key(message.subject, _CORRELATION, unfit="^=,")


def _written(message: Message) -> str:
    return f"{_DISPLAY}{message.key}"[:_CORRELATION]


PRESET = Preset(settings=ServiceNowIncidentSettings, build=ServiceNowIncidentSink)
