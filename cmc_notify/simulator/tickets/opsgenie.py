"""Opsgenie's Alert API as documented.

- https://docs.opsgenie.com/docs/alert-api: fields and their limits (message 130, alias 512, description
  15,000, note 25,000, entity 512, source 100, 20 tags of 50, details 8,000 in all), 202, 401, 422.
- https://docs.opsgenie.com/docs/alert-deduplication: one open alert for each alias, counted up by a create.
"""

from collections.abc import Iterator, Mapping, Sequence
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

_LIMITS = {"message": 130, "alias": 512, "description": 15_000, "note": 25_000, "entity": 512, "source": 100,
           "user": 100}  # fmt: skip
_TAGS, _TAG, _DETAILS = 20, 50, 8000
_CREATE = {*_LIMITS, "responders", "visibleTo", "actions", "tags", "details", "priority"}
_ACTION = {"user", "source", "note"}
_WHO = {"team": {"id", "name"}, "user": {"id", "username"}, "escalation": {"id", "name"},
        "schedule": {"id", "name"}}  # fmt: skip


class OpsgenieServer(TicketServer):
    """Accepts alerts with one API key (``authorization``: ``GenieKey …``)."""

    def routes(self) -> Sequence[Route]:
        """Return the routes that the preset uses."""
        return [
            ("POST", "/v2/alerts", "create", self._create),
            ("GET", "/v2/alerts/count", "get count", self._count),
            ("POST", "/v2/alerts/{alias}/notes", "note", self._note),
            ("POST", "/v2/alerts/{alias}/close", "close", self._close),
        ]

    def unauthorized(self) -> Any:
        """Return the response to an unknown key."""
        return {"message": "API Key is not valid", "took": 0.001, "requestId": "r-1"}

    def _count(self, _call: Call) -> ServiceResponse:
        return ServiceResponse(
            200, {"data": {"count": len(self.open_tickets())}, "took": 0.001, "requestId": "r-1"}
        )

    def _create(self, call: Call) -> ServiceResponse:
        alert = _checked(call.document, _CREATE)
        problems = dict(_alert_problems(alert))
        _refuse(problems)
        alias = text_of(alert, "alias") or f"made-{len(self.calls)}"
        open_ticket = self._open_ticket(alias)
        if open_ticket is None:
            text = f"{alert['message']}\n{text_of(alert, 'description')}"
            made = ServedTicket(f"a-{len(self.tickets)}", alias, history=[("open", text)], fields=dict(alert))
            self.tickets.append(made)
        else:  # only its count changes
            open_ticket.fields["count"] = open_ticket.fields.get("count", 1) + 1
        return _accepted()

    def _note(self, call: Call) -> ServiceResponse:
        document = _checked(call.document, _ACTION)
        note = text_of(document, "note")
        _refuse({} if note.strip() else {"note": "Note can not be empty."})
        ticket = self._open_ticket(_alias(call))
        if ticket is not None:
            ticket.history.append(("update", note))
        return _accepted()

    def _close(self, call: Call) -> ServiceResponse:
        document = _checked(call.document, _ACTION)
        ticket = self._open_ticket(_alias(call))
        if ticket is not None:
            ticket.open = False
            ticket.history.append(("resolve", text_of(document, "note")))
        return _accepted()

    def _open_ticket(self, alias: str) -> ServedTicket | None:
        return next((ticket for ticket in self.by_key(alias) if ticket.open), None)


def _alias(call: Call) -> str:
    if call.request.query.get("identifierType") != "alias":
        raise Refusal(422, {"message": "Identifier is not an id", "took": 0.001, "requestId": "r-1"})
    return call.request.match_info["alias"]


def _checked(document: Any, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        _refuse({"body": "is not a JSON object"})
    problems = dict.fromkeys(document.keys() - known, "Unknown field")
    for name, longest in _LIMITS.items():
        value = document.get(name, "")
        if not isinstance(value, str) or units(value) > longest:
            problems[name] = f"{name} can not be longer than {longest} characters."
    _refuse(problems)
    checked: Mapping[str, Any] = document
    return checked


def _alert_problems(alert: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not text_of(alert, "message").strip():
        yield "message", "Message can not be empty."
    if alert.get("priority", "P3") not in ("P1", "P2", "P3", "P4", "P5"):
        yield "priority", "Priority should be one of P1, P2, P3, P4, P5."
    tags = alert.get("tags", [])
    if len(tags) > _TAGS or any(not isinstance(tag, str) or units(tag) > _TAG for tag in tags):
        yield "tags", f"At most {_TAGS} tags of {_TAG} characters."
    details = alert.get("details", {})
    if not isinstance(details, dict) or any(not isinstance(value, str) for value in details.values()):
        yield "details", "Details must be a map of strings."
    elif sum(units(name) + units(value) for name, value in details.items()) > _DETAILS:
        yield "details", f"Details can not be longer than {_DETAILS} characters."
    for responder in alert.get("responders", []):
        kind = responder.get("type") if isinstance(responder, dict) else None
        if kind not in _WHO or len(responder.keys() & _WHO[kind]) != 1:
            yield "responders", "Each responder needs a type and one of id, name or username."


def _refuse(problems: Mapping[str, str]) -> None:
    if problems:
        document = {
            "message": "Request body is not processable. Please check the errors.",
            "errors": problems,
        }
        raise Refusal(422, {**document, "took": 0.0, "requestId": "r-1"})


def _accepted() -> ServiceResponse:
    return ServiceResponse(202, {"result": "Request will be processed", "took": 0.107, "requestId": "r-1"})
