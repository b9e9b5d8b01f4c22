"""The simulated ticket services refuse everything that breaks a rule of the vendor's documents."""

import copy
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, Sent
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message
from cmc_notify.simulator.tickets import ServiceFault
from support.recorded_parts import Parts
from support.ticket_services import AUTHORIZATION, PLACES, TicketPlace

MESSAGE = Message(key="k1", event=sample(EventType.JOB_FAILED), subject="job:emea:42")
Break = Callable[[Any], Any]


def put(*path: str | int, value: Any) -> Break:
    """The document with ``value`` at a place of it."""

    def breaks(document: Any) -> Any:
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return document

    return breaks


def drop(*path: str | int) -> Break:
    """The document without something."""

    def breaks(document: Any) -> Any:
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        return document

    return breaks


LONG_TEXT = {"type": "paragraph", "content": [{"type": "text", "text": "x" * 32_700}]}
BROKEN: dict[str, tuple[int, dict[str, Break]]] = {
    "pagerduty": (
        400,
        {
            "no routing key": drop("routing_key"),
            "a short routing key": put("routing_key", value="abc"),
            "another routing key": put("routing_key", value="f" * 32),
            "an unknown action": put("event_action", value="open"),
            "a long dedup_key": put("dedup_key", value="k" * 256),
            "no payload": drop("payload"),
            "no summary": put("payload", "summary", value=" "),
            "a long summary": put("payload", "summary", value="s" * 1025),
            "no source": drop("payload", "source"),
            "an unknown severity": put("payload", "severity", value="fatal"),
            "a time that is none": put("payload", "timestamp", value="today"),
            "a link that is none": put("links", value=[{"text": "x"}]),
            "a client_url that is none": put("client_url", value="x"),
            "an unknown field": put("priority", value=1),
        },
    ),
    "opsgenie": (
        422,
        {
            "no message": drop("message"),
            "a long message": put("message", value="m" * 131),
            "a long alias": put("alias", value="a" * 513),
            "a long description": put("description", value="d" * 15_001),
            "an unknown priority": put("priority", value="P6"),
            "a long tag": put("tags", value=["t" * 51]),
            "many tags": put("tags", value=["t"] * 21),
            "details that are no texts": put("details", value={"a": 1}),
            "long details": put("details", value={"a": "x" * 8000}),
            "a responder without a name": put("responders", value=[{"type": "team"}]),
            "an unknown field": put("colour", value="red"),
        },
    ),
    "alertmanager": (
        400,
        {
            "no list": lambda document: document[0],
            "no labels": drop(0, "labels"),
            "empty labels": put(0, "labels", value={}),
            "a label with a hyphen": put(0, "labels", "a-b", value="c"),
            "a label that is no text": put(0, "labels", "job", value=42),
            "an annotation that is no text": put(0, "annotations", "n", value=1),
            "an end before the start": put(0, "endsAt", value="2001-01-01T00:00:00Z"),
            "a time without a zone": put(0, "endsAt", value="2031-01-01T00:00:00"),
            "a generator that is no address": put(0, "generatorURL", value="here"),
            "an unknown field": put(0, "status", value="firing"),
        },
    ),
    "servicenow": (
        400,
        {
            "no records": drop("records"),
            "no source": drop("records", 0, "source"),
            "no message key": put("records", 0, "message_key", value=""),
            "a long message key": put("records", 0, "message_key", value="k" * 1025),
            "a long node": put("records", 0, "node", value="n" * 101),
            "a long description": put("records", 0, "description", value="d" * 4001),
            "an unknown severity": put("records", 0, "severity", value="7"),
            "a severity that is a number": put("records", 0, "severity", value=2),
            "an unknown state": put("records", 0, "resolution_state", value="Open"),
            "an ISO time": put("records", 0, "time_of_event", value="2026-11-23T09:20:00Z"),
            "information that is an object": put("records", 0, "additional_info", value={"a": 1}),
            "information that is no JSON": put("records", 0, "additional_info", value="{"),
            "an unknown field": put("records", 0, "colour", value="red"),
        },
    ),
    "servicenow-incident": (
        400,
        {
            "a long title": put("short_description", value="s" * 161),
            "a long description": put("description", value="d" * 4001),
            "a long correlation id": put("correlation_id", value="c" * 101),
            "an unknown field": put("colour", value="red"),
        },
    ),
    "jira": (
        400,
        {
            "no fields": drop("fields"),
            "another project": put("fields", "project", "key", value="OPS"),
            "no type": drop("fields", "issuetype"),
            "no summary": drop("fields", "summary"),
            "a long summary": put("fields", "summary", value="s" * 256),
            "a summary of two lines": put("fields", "summary", value="a\nb"),
            "a label with a blank": put("fields", "labels", value=["a b"]),
            "a long label": put("fields", "labels", value=["l" * 256]),
            "a description that is a text": put("fields", "description", value="text"),
            "a long description": put("fields", "description", "content", value=[LONG_TEXT]),
            "an empty text": put("fields", "description", "content", 0, "content", 0, "text", value=""),
            "an unknown block": put("fields", "description", "content", 0, "type", value="table!"),
            "an unknown field": put("fields", "colour", value="red"),
        },
    ),
}


async def opened(place: TicketPlace) -> tuple[str, Any]:
    """Open a ticket; where that was posted to, and what."""
    sink = place.sink()
    assert isinstance(await sink.send(MESSAGE, Parts()), Sent)
    await sink.close()
    [document] = [document for operation, document in place.desk.calls if operation == place.create]
    path = next(
        path for method, path, name, _ in place.desk.routes() if name == place.create and method == "POST"
    )
    return place.desk.url + path, document


@pytest.mark.parametrize("preset", BROKEN)
async def test_each_broken_payload_is_refused(preset: str) -> None:
    """A good payload is taken again; with any one rule broken it is refused, and makes no ticket."""
    place = PLACES[preset]()
    status, breaks = BROKEN[preset]
    key = f"GenieKey {place.secret}" if preset == "opsgenie" else AUTHORIZATION
    async with place.desk, aiohttp.ClientSession(headers={"Authorization": key}) as session:
        url, good = await opened(place)
        async with session.post(url, json=good) as answer:
            assert answer.status < 300
        stood = [(ticket.id, list(ticket.history)) for ticket in place.desk.tickets]
        for name, break_it in breaks.items():
            async with session.post(url, json=break_it(copy.deepcopy(good))) as answer:
                assert answer.status == status, name
                assert await answer.text(), name
        assert [(ticket.id, ticket.history) for ticket in place.desk.tickets] == stood
        if place.desk.authorization:
            async with session.post(url, json=good, headers={"Authorization": "Bearer wrong"}) as answer:
                assert answer.status == 401


@pytest.mark.parametrize(
    ("preset", "body", "said"),
    [
        ("jira", '{"errorMessages": [], "errors": {"customfield_7": "Site is required."}}', "customfield_7"),
        (
            "opsgenie",
            '{"message": "not processable", "errors": {"message": "is empty"}}',
            "message: is empty",
        ),
        ("pagerduty", '{"message": "Event object is invalid", "errors": ["no summary"]}', "no summary"),
        (
            "servicenow",
            '{"error": {"message": "Bad", "detail": "no source"}, "status": "failure"}',
            "no source",
        ),
        ("alertmanager", '"at least one label pair required"', "label pair"),
        ("jira", "<html>", "<html>"),
        ("servicenow-incident", '{"error": null}', "HTTP 400"),
    ],
)
async def test_a_refusal_names_the_field(preset: str, body: str, said: str) -> None:
    """The vendor's reason is in the dead letter's reason."""
    place = PLACES[preset]()
    async with place.desk:
        place.desk.fail_next(place.create, ServiceFault("respond", status=400, body=body))
        sink = place.sink()
        outcome = await sink.send(MESSAGE, Parts())
        await sink.close()
    assert isinstance(outcome, Rejected)
    assert said in outcome.reason


async def test_a_wrong_routing_key_holds_the_queue() -> None:
    """No event at all would be taken with it: an operator is needed, not dead letters."""
    place = PLACES["pagerduty"]()
    async with place.desk:
        sink = place.sink(options={"routing_key": "f" * 32})
        outcome = await sink.send(MESSAGE, Parts())
        await sink.close()
    assert isinstance(outcome, Blocked)
    assert "f" * 32 not in outcome.reason
