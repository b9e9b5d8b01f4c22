"""ServiceNow's incident table: one incident for each ``correlation_id``, which only the bridge keeps unique.

``correlation_display`` holds the key of the message that wrote last, in the same request as the change. So a
change whose response was lost is recognised.
https://www.servicenow.com/docs/bundle/xanadu-api-reference/page/integrate/inbound-rest/concept/c_TableAPI.html
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from cmc_notify.core.outcome import Blocked, Rejected, SendOutcome
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.settings.base import Part
from cmc_notify.sinks.webhook.preset import Limits, MessageContent, Preset
from cmc_notify.sinks.webhook.presets.servicenow import error_text_of
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.ticket import TicketSettings, probe_outcome
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.sinks.webhook.ticket_lookup import (
    EndSend,
    ExistingTicket,
    LookupTicketSink,
    nested,
    objects,
    read_json,
    search_json,
    unreadable_response,
    write_json,
)
from cmc_notify.sinks.webhook.webhook_client import WebhookClient

TABLE = "/api/now/table/incident"
_CORRELATION = 100
_DISPLAY = "cmc-notify "
_FIELDS = "sys_id,number,state,correlation_id,correlation_display"
_IN_PROGRESS, _RESOLVED, _CLOSED, _CANCELED = "2", "6", "7", "8"
"""The default values of ``incident.state``."""
_FINAL = frozenset({_CLOSED, _CANCELED})
_ENDED = _FINAL | {_RESOLVED}
_RULE = re.compile(r"Data Policy Exception|aborted by Business Rule", re.IGNORECASE)
"""A 403 "can also be caused by … business rule or data policy constraints" (the Table API's status codes):
they can forbid a change of one incident and allow it for all others.
"""

Text = Annotated[str, Field(min_length=1, max_length=200)]
Scale = Annotated[int, Field(ge=1, le=3)]


class ServiceNowIncidentOptions(Part):
    """The options of ``preset: servicenow-incident``. Names or sys_ids, as the instance takes them."""

    assignment_group: Text | None = None
    caller_id: Text | None = None
    category: Text | None = None
    business_service: Text | None = None
    urgency: Scale = 2
    """1 high, 2 medium, 3 low."""
    impact: Scale = 2
    """1 high, 2 medium, 3 low; the priority follows from both."""
    close_code: Text = "Solution provided"
    """A resolution code of the instance; it refuses to resolve without one."""


class ServiceNowIncidentSettings(TicketSettings):
    """``preset: servicenow-incident``."""

    preset: Literal["servicenow-incident"] = "servicenow-incident"
    options: ServiceNowIncidentOptions = ServiceNowIncidentOptions()


class ServiceNowIncidentSink(LookupTicketSink):
    """Creates incidents, adds work notes, resolves and reopens."""

    folder = "servicenow-incident"
    limits = Limits(summary=160, text=4000)

    def make_client(self, settings: PresetSettings) -> WebhookClient:
        """Return a client with basic or bearer authentication, as every webhook has it."""
        assert isinstance(settings, ServiceNowIncidentSettings)
        self._options = settings.options
        return WebhookClient(settings, error_text=error_text_of)

    def preview_response(self, method: str, url: str) -> Any:
        """Return no incident for a search, else the sample one."""
        incident = {
            "sys_id": "sample",
            "number": "INC0012345",
            "state": _IN_PROGRESS,
            "correlation_display": "",
        }
        return {"result": [] if method == "GET" and "sysparm_query" in url else incident}

    async def read_recorded(self, posting: Posting, client: WebhookClient) -> ExistingTicket | None:
        """Read the incident by its sys_id."""
        url = f"{self._table}/{quote(posting.reference, safe='')}?sysparm_fields={_FIELDS}"
        response = await read_json(client, url)
        return self._ticket(nested(response, "result"))

    async def find_by_key(self, message: Message, client: WebhookClient) -> ExistingTicket | None:
        """Find the incident by its correlation_id, which is compared once more.

        If the account can't read the field, an instance ignores the condition and returns other people's
        incidents.
        """
        key = _key(message)
        query = quote(f"correlation_id={key}^ORDERBYDESCsys_created_on", safe="")
        response = await search_json(
            client, f"{self._table}?sysparm_query={query}&sysparm_fields={_FIELDS}&sysparm_limit=50"
        )
        tickets = [
            ticket
            for entry in objects(nested(response, "result"))
            if entry.get("correlation_id") == key and (ticket := self._ticket(entry))
        ]
        return next((ticket for ticket in tickets if ticket.open), tickets[0] if tickets else None)

    async def create(
        self, message: Message, content: MessageContent, client: WebhookClient
    ) -> ExistingTicket:
        """Create an incident."""
        options = self._options
        chosen = options.model_dump(exclude={"close_code"}, exclude_none=True)
        document = {
            **{name: str(value) for name, value in chosen.items()},
            "short_description": content.summary,
            "description": content.text,
            "correlation_id": _key(message),
            "correlation_display": _written(message),
        }
        response = await write_json(
            client, "POST", self._table, content.body or document, message_id=message.key
        )
        ticket = self._ticket(nested(response, "result"))
        if ticket is None:
            raise unreadable_response("an incident was made")
        return ticket

    async def add_note(
        self, ticket: ExistingTicket, message: Message, content: MessageContent, client: WebhookClient
    ) -> None:
        """Add a work note."""
        await self._change(ticket, message, client, {"work_notes": content.text})

    async def reopen(
        self, ticket: ExistingTicket, message: Message, content: MessageContent, client: WebhookClient
    ) -> bool:
        """Reopen a resolved incident; closed and canceled ones are final."""
        if ticket.final:
            return False
        await self._change(ticket, message, client, {"state": _IN_PROGRESS, "work_notes": content.text})
        return True

    async def close_open_ticket(
        self,
        ticket: ExistingTicket,
        message: Message,
        content: MessageContent,
        client: WebhookClient,
        record: PartRecorder,  # noqa: ARG002  it is one request
    ) -> None:
        """Resolve the incident with the recoveries as notes."""
        resolved = {"state": _RESOLVED, "close_code": self._options.close_code, "close_notes": content.text}
        await self._change(ticket, message, client, resolved)

    async def probe(self) -> SendOutcome:
        """Read one incident."""
        return probe_outcome(
            await self.client.request("GET", f"{self._table}?sysparm_limit=1&sysparm_fields=sys_id")
        )

    @property
    def _table(self) -> str:
        return self.base.removesuffix(TABLE) + TABLE

    async def _change(
        self, ticket: ExistingTicket, message: Message, client: WebhookClient, fields: dict[str, str]
    ) -> None:
        url = f"{self._table}/{quote(ticket.reference, safe='')}?sysparm_fields={_FIELDS}"
        document = {**fields, "correlation_display": _written(message)}
        try:
            await write_json(client, "PATCH", url, document, message_id=message.key)
        except EndSend as end:
            if isinstance(end.outcome, Blocked) and _RULE.search(end.outcome.reason):
                raise EndSend(Rejected(f"{ticket.label}: {end.outcome.reason}")) from end
            raise

    def _ticket(self, entry: Any) -> ExistingTicket | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("sys_id"), str):
            return None
        display = str(entry.get("correlation_display") or "")
        state = str(entry.get("state"))
        return ExistingTicket(
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
