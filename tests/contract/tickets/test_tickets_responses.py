"""Undocumented responses of a ticket service: each has its outcome, and nothing breaks."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, Sent, Unclear
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message, Posting
from cmc_notify.simulator.tickets import JiraServer, ServiceFault
from support.recorded_parts import Parts
from support.ticket_services import (
    PLACES,
    AlertmanagerPlace,
    JiraPlace,
    PagerDutyPlace,
    ServiceNowIncidentPlace,
    TicketPlace,
)

ODD: tuple[Any, ...] = (
    None, 1, "x", [], [1], {}, {"issues": 1}, {"issues": {}}, {"issues": [1]}, {"transitions": 1},
    {"transitions": [1, {}, {"id": 1, "to": None}, {"id": "1", "to": {"statusCategory": 1}}]},
    {"id": "1", "key": "NET-1", "fields": [1]}, {"id": "1", "key": "NET-1", "fields": {"status": 1}},
    {"id": "1", "key": "NET-1", "properties": [1]}, {"id": 1, "key": 1, "properties": {"cmc-notify": 1}},
    {"id": "1", "key": "NET-1", "comments": [1, {}, {"id": 1}], "value": 1},
    {"result": 1}, {"result": [1]}, {"result": {"sys_id": 1}}, {"result": [{"sys_id": "x", "state": None}]},
    {"permissions": [1]}, {"permissions": {"BROWSE_PROJECTS": 1}},
)  # fmt: skip


def failed(key: str) -> Message:
    """A failure."""
    return Message(key=key, event=sample(EventType.JOB_FAILED), subject="job:emea:42-1795425000")


def recovered(key: str) -> Message:
    """The last recovery."""
    event = sample(EventType.APPLIANCE_RECOVERED)
    return Message(key=key, event=event, subject="job:emea:42-1795425000", purpose=Purpose.CLOSE)


@pytest.fixture
async def jira() -> AsyncIterator[JiraPlace]:
    """A project of a site."""
    made = JiraPlace()
    async with made.desk:
        yield made


@pytest.mark.parametrize("preset", PLACES)
@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_without_end_breaks_no_sink(preset: str, status: int) -> None:
    """JSON that is nested deeper than anybody reads is like any other nonsense."""

    async def deep(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="[" * 50_000, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", deep)
    place = PLACES[preset]()
    async with TestServer(app) as server:
        place.desk.url = str(server.make_url("")).rstrip("/")
        sink = place.sink()
        outcome = await sink.send(failed("k"), Parts())
        await sink.close()
    assert isinstance(outcome, Sent) is (status == 200 and not preset.startswith(("jira", "servicenow-i")))


@pytest.mark.parametrize("make", [JiraPlace, ServiceNowIncidentPlace])
async def test_no_answer_breaks_a_sink(make: Callable[[], TicketPlace]) -> None:
    """Success with any JSON, as of a proxy or another version, ends in an outcome, never in an exception."""
    place = make()
    answer: Any = None

    async def odd(_request: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", odd)
    async with TestServer(app) as server:
        place.desk.url = str(server.make_url("")).rstrip("/")
        sink = place.sink()
        for answer in ODD:  # noqa: B007  the server gives it
            await sink.probe()
            for message in (failed("k"), recovered("k")):
                for posting in (None, Posting(reference="1", label="NET-1")):
                    for purpose in Purpose:
                        await sink.send(
                            msgspec.structs.replace(
                                message, purpose=purpose, posting=posting, unclear=True, attempt=5
                            ),
                            Parts(),
                        )
        await sink.close()


async def test_a_project_that_the_account_no_longer_sees_holds_the_queue(
    jira: JiraPlace, record: Parts
) -> None:
    """Jira refuses the search with 400 then: no message would be taken, and none may become a dead letter."""
    words = """{"errorMessages":["The value 'NET' does not exist for the field 'project'."]}"""
    jira.desk.fail_next("get search", ServiceFault("respond", status=400, body=words))
    sink = jira.sink()
    outcome = await sink.send(record.next(failed("k1")), record)
    await sink.close()
    assert isinstance(outcome, Blocked)
    assert "does not exist for the field 'project'" in outcome.reason


@pytest.mark.parametrize(
    "detail",
    [
        "Data Policy Exception: The following fields are mandatory: Caller",
        "Operation against file 'incident' was aborted by Business Rule 'Keep' (sys_id 1)",
    ],
)
async def test_an_incident_that_a_rule_protects_holds_up_no_other(record: Parts, detail: str) -> None:
    """ServiceNow responds 403 if rules forbid this one change, as it does for missing rights."""
    place = ServiceNowIncidentPlace()
    async with place.desk:
        sink = place.sink()
        assert isinstance(await sink.send(record.next(failed("k1")), record), Sent)
        words = msgspec.json.encode(
            {"error": {"message": "Operation Failed", "detail": detail}, "status": "failure"}
        ).decode()
        place.desk.fail_next("change", ServiceFault("respond", status=403, body=words))
        outcome = await sink.send(record.next(recovered("k2")), record)
        assert isinstance(outcome, Rejected)
        assert detail in outcome.reason
        place.desk.fail_next(
            "change", ServiceFault("respond", status=403, body='{"error":{"message":"no role"}}')
        )
        assert isinstance(await sink.send(record.next(recovered("k3")), record), Blocked)
        await sink.close()


async def test_an_alert_has_the_serial_as_it_is(record: Parts) -> None:
    """A colon in a serial, such as of a MAC address, moves nothing from one label into the next."""
    place = AlertmanagerPlace()
    async with place.desk:
        sink = place.sink()
        message = msgspec.structs.replace(failed("k1"), subject="failure:emea:00:1B:44:3")
        assert isinstance(await sink.send(record.next(message), record), Sent)
        await sink.close()
        labels = place.desk.tickets[0].fields["labels"]
        assert (labels["controller"], labels["serial"], labels["feature_id"]) == ("emea", "00:1B:44", "3")


async def test_a_search_that_lags_is_asked_again_however_late_the_doubt(
    jira: JiraPlace, record: Parts
) -> None:
    """Failed attempts before the response was lost do not count as searches for the issue."""
    assert isinstance(jira.desk, JiraServer)
    sink = jira.sink()
    jira.desk.fail_next("create", ServiceFault("drop", done=True), ServiceFault("drop", done=True))
    message = msgspec.structs.replace(failed("k1"), attempt=6)
    assert isinstance(await sink.send(message, record), Unclear)
    again = msgspec.structs.replace(record.resumed(message, unclear=True), attempt=7)
    jira.desk.lag = 1
    waiting = await sink.send(again, record)
    assert isinstance(waiting, RetryLater)
    assert waiting.after is not None, "soon, however long the waits have become"
    jira.desk.lag = 0
    last = msgspec.structs.replace(record.resumed(message, unclear=True), attempt=8)
    assert await sink.send(last, record) == Sent("NET-1")
    assert len(jira.desk.tickets) == 1
    await sink.close()


async def test_somebody_elses_incident_is_left_alone(record: Parts) -> None:
    """An instance ignores a condition that it can't read, and returns the newest incidents."""
    place = ServiceNowIncidentPlace()
    async with place.desk:
        other = {"sys_id": "f" * 32, "number": "INC0099999", "state": "2", "correlation_display": ""}
        words = msgspec.json.encode({"result": [other, other | {"correlation_id": "monitoring-7"}]}).decode()
        place.desk.fail_next(
            "get incidents", ServiceFault("respond", body=words), ServiceFault("respond", body=words)
        )
        sink = place.sink()
        assert await sink.send(recovered("k1"), record) == Sent("there is no ticket to close")
        assert await sink.send(record.next(failed("k2")), record) == Sent("INC0000001")
        await sink.close()


async def test_a_feature_called_routing_holds_up_nobody(record: Parts) -> None:
    """Only a refused routing key speaks of every event."""
    place = PagerDutyPlace()
    async with place.desk:
        sink = place.sink()
        for error, outcome in (
            ("'payload.component' (Routing) is invalid", Rejected),
            ("Invalid routing key", Blocked),
            ("'routing_key' is missing or blank", Blocked),
        ):
            words = msgspec.json.encode({"message": "Event object is invalid", "errors": [error]}).decode()
            place.desk.fail_next("event", ServiceFault("respond", status=400, body=words))
            assert isinstance(await sink.send(failed("k"), record), outcome), error
        await sink.close()


async def test_a_conflict_with_somebody_elses_change_passes(jira: JiraPlace, record: Parts) -> None:
    """Jira moves an issue once at a time and responds 409 to the others, which passes."""
    sink = jira.sink()
    assert isinstance(await sink.send(record.next(failed("k1")), record), Sent)
    jira.desk.fail_next("transition", ServiceFault("respond", status=409, body="{}"))
    parts = Parts()
    parts.posting = record.posting
    closing = recovered("k2")
    assert isinstance(await sink.send(parts.next(closing), parts), RetryLater)
    assert isinstance(await sink.send(parts.resumed(closing), parts), Sent)
    await sink.close()
    assert jira.desk.tickets[0].done == ["open", "update", "resolve"]
