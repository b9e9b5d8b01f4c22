"""Alertmanager's v2 API as documented.

- https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml: what may be posted.
- https://prometheus.io/docs/alerting/latest/clients/: labels make the alert; without an end it is resolved
  ``resolve_timeout`` (five minutes) later.
- https://prometheus.io/docs/concepts/data_model/: what a label's name may be.
"""

import re
import time
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
)

RESOLVE_TIMEOUT = 300.0
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FIELDS = {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}


class AlertmanagerServer(TicketServer):
    """A ticket is one firing of one set of labels; its key is their text."""

    def routes(self) -> Sequence[Route]:
        """Return the routes that the preset uses."""
        return [
            ("POST", "/api/v2/alerts", "alerts", self._alerts),
            ("GET", "/api/v2/status", "get status", self._status),
        ]

    def unauthorized(self) -> Any:
        """Return the response of a proxy in front of it: it knows no credentials itself."""
        return "Unauthorized"

    def _status(self, _call: Call) -> ServiceResponse:
        cluster = {"status": "disabled", "peers": []}
        return ServiceResponse(
            200, {"cluster": cluster, "versionInfo": {}, "config": {"original": ""}, "uptime": ""}
        )

    def _alerts(self, call: Call) -> ServiceResponse:
        alerts = call.document
        if not isinstance(alerts, list):
            raise Refusal(400, 'parsing alerts body from "" failed, because json: cannot unmarshal')
        for alert in alerts:
            problems = list(_problems(alert)) if isinstance(alert, dict) else ["is not an object"]
            if problems:
                raise Refusal(400, "; ".join(problems))
        for alert in alerts:
            self._apply(alert)
        return ServiceResponse(200)

    def _apply(self, alert: Mapping[str, Any]) -> None:
        key = ",".join(f"{name}={value}" for name, value in sorted(alert["labels"].items()))
        open_ticket = next((ticket for ticket in self.by_key(key) if ticket.open), None)
        now = time.time()
        ends = _seconds(alert["endsAt"]) if "endsAt" in alert else now + RESOLVE_TIMEOUT
        text = "\n".join(alert.get("annotations", {}).values())
        if ends <= now:
            if open_ticket is not None:
                open_ticket.open = False
                open_ticket.history.append(("resolve", text))
        elif open_ticket is None:
            fields = {"labels": alert["labels"], "ends": ends}
            new = ServedTicket(f"f-{len(self.tickets)}", key, history=[("open", text)], fields=fields)
            self.tickets.append(new)
        else:
            open_ticket.fields["ends"] = ends
            open_ticket.history.append(("update", text))


def _problems(alert: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"unknown field {name}" for name in alert.keys() - _FIELDS)
    labels = alert.get("labels")
    if not isinstance(labels, dict) or not any(labels.values()):
        yield "at least one label pair required"
    for place, pairs in (("labels", labels), ("annotations", alert.get("annotations", {}))):
        if not isinstance(pairs, dict):
            yield f"{place} must be an object"
            continue
        for name, value in pairs.items():
            if not _NAME.fullmatch(name):
                yield f"invalid label name {name!r}"
            if not isinstance(value, str):
                yield f"{place}.{name} must be a string"
    try:
        starts, ends = (_seconds(alert[name]) if name in alert else None for name in ("startsAt", "endsAt"))
        if starts is not None and ends is not None and ends < starts:
            yield "start time must be before end time"
    except (TypeError, ValueError):
        yield "startsAt and endsAt must be date-times"
    address = alert.get("generatorURL", "https://example.net")
    if not isinstance(address, str) or not urlsplit(address).scheme:
        yield "generatorURL must be a URI"


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.timestamp()
