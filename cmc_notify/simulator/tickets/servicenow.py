"""A ServiceNow instance as documented: Event Management's web service and the incident table.

- https://www.servicenow.com/docs/bundle/paris-it-operations-management/page/product/event-management/concept/c_EMIntegrateRequirementEvent.html:
  the event's fields, their lengths (100, message_key 1024), severity 0 to 5, resolution_state.
- https://www.servicenow.com/docs/bundle/xanadu-it-operations-management/page/product/event-management/task/send-events-via-web-service.html:
  ``/api/global/em/jsonv2`` and its ``records``.
- https://www.servicenow.com/docs/bundle/xanadu-api-reference/page/integrate/inbound-rest/concept/c_TableAPI.html:
  query, create (201), change (200), and how it refuses.
- An incident's fields, and an event's description, have the lengths of a new instance's dictionary.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cmc_notify.simulator.tickets.ticket_server import (
    Call,
    Refusal,
    Route,
    ServedTicket,
    ServiceResponse,
    TicketServer,
    text_of,
    units,
)

_EVENT = {"source": 100, "event_class": 100, "node": 100, "resource": 100, "metric_name": 100, "type": 100,
          "message_key": 1024, "description": 4000, "additional_info": 65_000, "severity": 1,
          "time_of_event": 19, "resolution_state": 40, "ci_type": 100}  # fmt: skip
_INCIDENT = {"short_description": 160, "description": 4000, "correlation_id": 100, "correlation_display": 100,
             "work_notes": 4000, "close_notes": 4000, "close_code": 40, "state": 40, "urgency": 40,
             "impact": 40, "assignment_group": 32, "caller_id": 32, "category": 40,
             "business_service": 32}  # fmt: skip
_ENDED = {"6", "7", "8"}
_QUERY = re.compile(r"correlation_id=([^^]+)\^ORDERBYDESCsys_created_on")


class ServiceNowServer(TicketServer):
    """One instance. ``close_codes`` are the codes with which an incident can be resolved."""

    close_codes = ("Solution provided", "Duplicate")

    def routes(self) -> Sequence[Route]:
        """Return the routes that both presets use."""
        table = "/api/now/table/incident"
        return [
            ("POST", "/api/global/em/jsonv2", "events", self._events),
            ("GET", "/api/now/table/em_event", "get events", self._no_events),
            ("GET", table, "get incidents", self._query),
            ("GET", table + "/{id}", "get incident", self._incident),
            ("POST", table, "create", self._create),
            ("PATCH", table + "/{id}", "change", self._change),
        ]

    def unauthorized(self) -> Any:
        """Return the response of every web service of an instance."""
        return _error("User Not Authenticated", "Required to provide Auth information")

    # --- Event Management -------------------------------------------------------------------------------

    def _no_events(self, _call: Call) -> ServiceResponse:
        return ServiceResponse(200, {"result": []})

    def _events(self, call: Call) -> ServiceResponse:
        records = call.document.get("records") if isinstance(call.document, dict) else None
        if not isinstance(records, list) or not records:
            raise Refusal(400, _error("Bad request", "records is missing"))
        for entry in records:
            problems = (
                list(_event_problems(entry)) if isinstance(entry, dict) else ["a record is not an object"]
            )
            if problems:
                raise Refusal(400, _error("Event is not valid", "; ".join(problems)))
        for entry in records:
            self._event(entry)
        return ServiceResponse(
            200, {"result": {"Default Bulk Endpoint": f"{len(records)} events were inserted"}}
        )

    def _event(self, entry: Mapping[str, Any]) -> None:
        key = entry["message_key"]
        open_ticket = next((ticket for ticket in self.by_key(key) if ticket.open), None)
        clears = entry["severity"] == "0" or entry.get("resolution_state") == "Closing"
        text = text_of(entry, "description")
        if open_ticket is not None:
            open_ticket.history.append(("resolve" if clears else "update", text))
            open_ticket.open = not clears
        elif not clears:
            self.tickets.append(ServedTicket(f"Alert{len(self.tickets)}", key, history=[("open", text)]))

    # --- the incident table -----------------------------------------------------------------------------

    def _query(self, call: Call) -> ServiceResponse:
        query = call.request.query
        if "sysparm_query" not in query:
            return ServiceResponse(200, {"result": [{"sys_id": each.id} for each in self.tickets[:1]]})
        wanted = _QUERY.fullmatch(query["sysparm_query"])
        found = (
            self.by_key(wanted[1]) if wanted else self.tickets
        )  # an instance ignores a query that it can't read
        newest = found[::-1][: int(query.get("sysparm_limit", "10000"))]
        return ServiceResponse(200, {"result": [_shown(each, call) for each in newest]})

    def _incident(self, call: Call) -> ServiceResponse:
        return ServiceResponse(200, {"result": _shown(self._by_id(call), call)})

    def _create(self, call: Call) -> ServiceResponse:
        fields = _fields(call.document)
        number = len(self.tickets) + 1
        text = f"{text_of(fields, 'short_description')}\n{text_of(fields, 'description')}"
        made = ServedTicket(f"{number:032x}", text_of(fields, "correlation_id"), history=[("open", text)])
        made.fields = {"number": f"INC{number:07}", "state": "1", **fields}
        self.tickets.append(made)
        return ServiceResponse(201, {"result": _shown(made, call)})

    def _change(self, call: Call) -> ServiceResponse:
        ticket, fields = self._by_id(call), _fields(call.document)
        state = fields.get("state", ticket.fields["state"])
        if state == "6" and not (fields.get("close_notes") and fields.get("close_code") in self.close_codes):
            problem = (
                "Data Policy Exception: The following fields are mandatory: Resolution code, Resolution notes"
            )
            raise Refusal(403, _error("Operation Failed", problem))
        if ticket.fields["state"] in ("7", "8"):
            raise Refusal(403, _error("Operation against file 'incident' was aborted by Business Rule", ""))
        closes, opens = state in _ENDED and ticket.open, state not in _ENDED and not ticket.open
        action = "resolve" if closes else "reopen" if opens else "update"
        ticket.history.append((action, text_of(fields, "close_notes") or text_of(fields, "work_notes")))
        ticket.fields |= fields
        ticket.open = state not in _ENDED
        return ServiceResponse(200, {"result": _shown(ticket, call)})

    def _by_id(self, call: Call) -> ServedTicket:
        found = [ticket for ticket in self.tickets if ticket.id == call.request.match_info["id"]]
        if not found:
            raise Refusal(404, _error("No Record found", "Record doesn't exist or ACL restricts the record"))
        return found[0]


def _error(message: str, detail: str) -> dict[str, Any]:
    return {"error": {"message": message, "detail": detail}, "status": "failure"}


def _shown(ticket: ServedTicket, call: Call) -> dict[str, Any]:
    whole = {"sys_id": ticket.id, **ticket.fields}
    asked = call.request.query.get("sysparm_fields")
    return {name: whole.get(name, "") for name in asked.split(",")} if asked else whole


def _fields(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Refusal(400, _error("Exception while reading request", "The payload is not valid JSON"))
    problems = [f"{name} is not a field of incident" for name in document.keys() - _INCIDENT.keys()]
    for name, value in document.items():
        if not isinstance(value, str) or units(value) > _INCIDENT.get(name, 0):
            problems.append(f"{name} must be a text of at most {_INCIDENT.get(name, 0)} characters")
    if problems:
        raise Refusal(400, _error("Invalid field", "; ".join(problems)))
    return document


def _event_problems(entry: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{name} is not a field of em_event" for name in entry.keys() - _EVENT.keys())
    for name, longest in _EVENT.items():
        value = entry.get(name, "")
        if not isinstance(value, str) or units(value) > longest:
            yield f"{name} must be a text of at most {longest} characters"
    for name in ("source", "severity", "message_key"):
        if not text_of(entry, name):
            yield f"{name} is missing"
    if not text_of(entry, "node") and not text_of(entry, "event_class"):
        yield "node or event_class is needed"
    if entry.get("severity") not in ("0", "1", "2", "3", "4", "5"):
        yield "severity must be 0 to 5"
    if entry.get("resolution_state", "New") not in ("New", "Closing"):
        yield "resolution_state must be New or Closing"
    yield from _format_problems(entry)


def _format_problems(entry: Mapping[str, Any]) -> Iterator[str]:
    try:
        datetime.strptime(text_of(entry, "time_of_event"), "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007  it is GMT, without a zone
    except ValueError:
        yield "time_of_event must be yyyy-MM-dd HH:mm:ss"
    try:
        if not isinstance(json.loads(text_of(entry, "additional_info") or "{}"), dict):
            yield "additional_info must hold a JSON object"
    except ValueError:
        yield "additional_info must hold a JSON object"
