"""PagerDuty's Events API v2 as documented.

- https://developer.pagerduty.com/docs/send-alert-event: the fields, what each may hold, 202 and 400.
- https://developer.pagerduty.com/docs/events-api-v2-overview: 512 KB, rate limits (429), severities.
- https://support.pagerduty.com/main/docs/event-management: one alert for each dedup_key while it is open; a
  trigger after a resolve makes a new one; acknowledge and resolve do nothing without an open one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

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

LARGEST_EVENT = 512 * 1024
_KEY = 255
_SUMMARY = 1024
_ROUTING = re.compile(r"[0-9A-Za-z]{32}")
_TOP = {
    "routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images",
}  # fmt: skip
_PAYLOAD = {
    "summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details",
}  # fmt: skip


class PagerDutyServer(TicketServer):
    """Accepts events for one integration key."""

    def __init__(self, *, routing_key: str = "0123456789abcdef0123456789abcdef") -> None:
        super().__init__()
        self.routing_key = routing_key

    def routes(self) -> Sequence[Route]:
        """Return the only route; nothing can be read."""
        return [
            ("POST", "/v2/enqueue", "event", self._event),
            ("GET", "/v2/enqueue", "get nothing", self._nothing),
        ]

    def unauthorized(self) -> Any:
        """Return an empty body: the only credentials are the key in the body."""
        return {}

    def _nothing(self, _call: Call) -> ServiceResponse:
        return ServiceResponse(405, {"status": "405", "error": "Method Not Allowed"})

    def _event(self, call: Call) -> ServiceResponse:
        if len(call.raw) > LARGEST_EVENT:
            raise Refusal(413, {"status": "invalid event", "message": "Payload too large"})
        event = call.document
        problems = ["event is not a JSON object"] if not isinstance(event, dict) else list(_problems(event))
        if problems:
            refused = {"status": "invalid event", "message": "Event object is invalid", "errors": problems}
            raise Refusal(400, refused)
        if event["routing_key"] != self.routing_key:
            errors = ["Invalid routing key"]
            raise Refusal(400, {"status": "invalid event", "message": "Invalid key", "errors": errors})
        key = event.get("dedup_key") or f"made-{len(self.calls)}"
        self._apply(event, key)
        return ServiceResponse(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    def _apply(self, event: Mapping[str, Any], key: str) -> None:
        open_ticket = next((ticket for ticket in self.by_key(key) if ticket.open), None)
        payload = event.get("payload") or {}
        details = payload.get("custom_details")
        text = (
            f"{text_of(payload, 'summary')}\n{text_of(details, 'text') if isinstance(details, dict) else ''}"
        )
        if open_ticket is None:
            if event["event_action"] == "trigger":
                made = ServedTicket(id=f"Q{len(self.tickets) + 1}", key=key, history=[("open", text)])
                self.tickets.append(made)
        elif event["event_action"] == "trigger":
            open_ticket.history.append(("update", text))
        elif event["event_action"] == "resolve":
            open_ticket.open = False
            open_ticket.history.append(("resolve", text))


def _problems(event: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"'{name}' is not a known field" for name in event.keys() - _TOP)
    routing = event.get("routing_key")
    if not isinstance(routing, str) or not _ROUTING.fullmatch(routing):
        yield "Length of 'routing_key' is incorrect (should be 32 characters)"
    action = event.get("event_action")
    if action not in ("trigger", "acknowledge", "resolve"):
        yield "'event_action' is missing or invalid (must be one of trigger, acknowledge, resolve)"
    key = event.get("dedup_key")
    if key is not None and (not isinstance(key, str) or not 0 < len(key) <= _KEY):
        yield f"'dedup_key' must be a string of at most {_KEY} characters"
    if key is None and action != "trigger":
        yield "'dedup_key' is required"
    yield from _links(event.get("links", []))
    if "client_url" in event and not _is_address(event["client_url"]):
        yield "'client_url' is not a valid URL"
    payload = event.get("payload")
    if isinstance(payload, dict):
        yield from _payload(payload)
    elif action == "trigger" or payload is not None:
        yield "'payload' is missing or blank"


def _payload(payload: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"'payload.{name}' is not a known field" for name in payload.keys() - _PAYLOAD)
    summary = payload.get("summary")
    if not isinstance(summary, str) or not summary.strip():
        yield "'payload.summary' is missing or blank"
    elif units(summary) > _SUMMARY:
        yield f"'payload.summary' is too long (maximum is {_SUMMARY} characters)"
    if not isinstance(payload.get("source"), str) or not payload["source"].strip():
        yield "'payload.source' is missing or blank"
    if payload.get("severity") not in ("critical", "error", "warning", "info"):
        yield "'payload.severity' is invalid (must be one of critical, warning, error, info)"
    if (timestamp := payload.get("timestamp")) is not None:
        try:
            datetime.fromisoformat(timestamp)
        except (TypeError, ValueError):
            yield "'payload.timestamp' is not a valid ISO 8601 time"
    for name in ("component", "group", "class"):
        if not isinstance(payload.get(name, ""), str | None):
            yield f"'payload.{name}' must be a string"
    if not isinstance(payload.get("custom_details", {}), dict | str | list):
        yield "'payload.custom_details' must be an object"


def _links(links: Any) -> Iterator[str]:
    if not isinstance(links, list):
        yield "'links' must be an array"
        return
    for link in links:
        if not isinstance(link, dict) or not _is_address(link.get("href")):
            yield "'links' needs an href in each"


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and urlsplit(value).scheme in ("http", "https")
