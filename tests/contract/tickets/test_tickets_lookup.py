"""Tickets at services without a key, and the peculiarities of each service."""

import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, Sent, Unclear
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message
from cmc_notify.simulator.tickets import JiraServer, ServiceFault, TicketServer
from support.recorded_parts import Parts
from support.ticket_services import (
    AlertmanagerPlace,
    JiraPlace,
    OpsgeniePlace,
    ServiceNowIncidentPlace,
    TicketPlace,
)

LOOKING = {"jira": JiraPlace, "servicenow-incident": ServiceNowIncidentPlace}


@pytest.fixture(params=LOOKING)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[TicketPlace]:
    """Each service that has to be asked what stands there."""
    made = LOOKING[request.param]()
    async with made.desk:
        yield made


@pytest.fixture
async def jira() -> AsyncIterator[JiraPlace]:
    """Jira alone."""
    made = JiraPlace()
    async with made.desk:
        yield made


def failed(key: str) -> Message:
    """A failure."""
    return Message(key=key, event=sample(EventType.JOB_FAILED), subject="job:emea:42-1795425000")


def recovered(key: str, purpose: Purpose = Purpose.CLOSE) -> Message:
    """A recovery: the last, or one of several."""
    event = sample(EventType.APPLIANCE_RECOVERED)
    return Message(key=key, event=event, subject="job:emea:42-1795425000", purpose=purpose)


def close_by_hand(server: TicketServer, state: str = "6") -> None:
    """Somebody closes the newest ticket at the service."""
    server.tickets[-1].open = False
    server.tickets[-1].fields["state"] = state


async def settle(place: TicketPlace, record: Parts, *messages: Message) -> None:
    """Send them one after the other, each with what stands by then."""
    sink = place.sink()
    for message in messages:
        assert isinstance(await sink.send(record.next(message), record), Sent)
    await sink.close()


async def test_what_was_not_recorded_is_found(place: TicketPlace, record: Parts) -> None:
    """Without a posting the ticket is found by its key, added to and closed."""
    await settle(place, record, failed("k1"))
    await settle(place, Parts(), failed("k2"))
    await settle(place, Parts(), recovered("k3"))
    [ticket] = place.desk.tickets
    assert ticket.done[:2] == ["open", "update"]
    assert not ticket.open
    await settle(place, Parts(), recovered("k4"))
    assert len(place.desk.tickets) == 1


async def test_each_lost_answer_is_found(place: TicketPlace, record: Parts) -> None:
    """An update and a close whose responses are lost are not made twice."""
    await settle(place, record, failed("k1"))
    sink = place.sink()
    for message, operations in (
        (failed("k2"), ("comment", "change")),
        (recovered("k3"), ("transition", "change")),
    ):
        for operation in operations:
            place.desk.fail_next(operation, ServiceFault("drop", done=True))
        parts = Parts()
        parts.posting = record.posting
        outcome = await sink.send(parts.next(message), parts)
        if isinstance(outcome, Unclear):
            outcome = await sink.send(parts.resumed(message, unclear=True), parts)
        if isinstance(outcome, Unclear):  # Jira closes by two requests
            outcome = await sink.send(parts.resumed(message, unclear=True), parts)
        assert isinstance(outcome, Sent)
        record.posting = parts.posting
        place.desk._faults.clear()
    await sink.close()
    [ticket] = place.desk.tickets
    wanted = {
        "jira": ["open", "update", "update", "resolve"],
        "servicenow-incident": ["open", "update", "resolve"],
    }
    assert ticket.done == wanted[place.preset]


async def test_what_people_did_is_respected(place: TicketPlace, record: Parts) -> None:
    """Closed by hand: a recovery leaves it so, be it the last or not; another failure opens it again."""
    await settle(place, record, failed("k1"))
    close_by_hand(place.desk)
    await settle(place, record, recovered("k2", Purpose.FOLLOW))
    assert place.desk.tickets[0].done == ["open"]
    assert record.posting
    assert not record.posting.open
    await settle(place, record, failed("k3"))
    [ticket] = place.desk.tickets
    assert ticket.open
    assert "reopen" in ticket.done
    close_by_hand(place.desk)
    done = list(ticket.done)
    await settle(place, record, recovered("k4"))
    assert ticket.done == done


async def test_what_can_not_be_opened_again_gets_a_new_ticket(place: TicketPlace, record: Parts) -> None:
    """A workflow without a way back, or a state that is final."""
    await settle(place, record, failed("k1"))
    close_by_hand(place.desk, "7")
    if isinstance(place.desk, JiraServer):
        place.desk.can_reopen = False
    sink = place.sink()
    place.desk.fail_next(
        "create", ServiceFault("drop", done=True)
    )  # and its response is lost, so it is looked for
    message = record.next(failed("k2"))
    assert isinstance(await sink.send(message, record), Unclear)
    assert isinstance(await sink.send(record.resumed(message, unclear=True), record), Sent)
    await sink.close()
    assert [ticket.done for ticket in place.desk.tickets] == [["open"], ["open"]]
    await settle(place, record, recovered("k3"))
    assert place.desk.open_tickets() == []


async def test_a_deleted_ticket_is_made_again(place: TicketPlace, record: Parts) -> None:
    """The recorded ticket is gone: there is nothing to follow or close, and a failure creates another."""
    await settle(place, record, failed("k1"))
    place.desk.tickets.clear()
    await settle(place, record, recovered("k2", Purpose.FOLLOW), recovered("k3"))
    assert place.desk.tickets == []
    await settle(place, record, failed("k4"))
    assert len(place.desk.open_tickets()) == 1


async def test_a_search_that_lags_is_asked_again(jira: JiraPlace, record: Parts) -> None:
    """After a lost response the search may not know the issue yet: it is repeated before a creation."""
    assert isinstance(jira.desk, JiraServer)
    sink = jira.sink()
    jira.desk.fail_next("create", ServiceFault("drop", done=True))
    message = failed("k1")
    assert isinstance(await sink.send(message, record), Unclear)
    jira.desk.lag = 1
    assert isinstance(await sink.send(record.resumed(message, unclear=True), record), RetryLater)
    jira.desk.lag = 0
    again = msgspec.structs.replace(record.resumed(message, unclear=True), attempt=3)
    assert await sink.send(again, record) == Sent("NET-1")
    assert jira.desk.tickets[0].done == ["open"]
    await sink.close()


async def test_a_crash_between_comment_and_transition(jira: JiraPlace, record: Parts) -> None:
    """The comment that was recorded is not left twice."""
    await settle(jira, record, failed("k1"))
    sink = jira.sink()
    jira.desk.fail_next("transition", ServiceFault("respond", status=503))
    closing = recovered("k2")
    parts = Parts()
    parts.posting = record.posting
    assert isinstance(await sink.send(parts.next(closing), parts), RetryLater)
    assert isinstance(await sink.send(parts.resumed(closing), parts), Sent)
    assert jira.desk.tickets[0].done == ["open", "update", "resolve"]
    await sink.close()


async def test_transitions_by_name(jira: JiraPlace, record: Parts) -> None:
    """A named transition is taken; one that isn't there is a dead letter that says what to set."""
    await settle(jira, record, failed("k1"))
    jira.options = {"project": "NET", "close_transition": "Finish"}
    sink = jira.sink()
    outcome = await sink.send(record.next(recovered("k2")), record)
    assert isinstance(outcome, Rejected)
    assert "close_transition" in outcome.reason
    await sink.close()
    jira.options["close_transition"] = "Done"
    await settle(jira, record, recovered("k3"))
    assert jira.desk.open_tickets() == []


async def test_a_probe_names_missing_rights(jira: JiraPlace) -> None:
    """And a project that nobody may see."""
    assert isinstance(jira.desk, JiraServer)
    jira.desk.rights.remove("TRANSITION_ISSUES")
    sink = jira.sink()
    found = await sink.probe()
    assert found == Blocked("the account lacks TRANSITION_ISSUES in project NET")
    await sink.close()
    jira.options = {"project": "OPS"}
    sink = jira.sink()
    assert isinstance(await sink.probe(), Blocked)
    await sink.close()


async def test_a_posting_leads_people_to_the_ticket(place: TicketPlace, record: Parts) -> None:
    """By the name that people know, and a link."""
    await settle(place, record, failed("k1"))
    assert record.posting
    assert record.posting.label == {"jira": "NET-1", "servicenow-incident": "INC0000001"}[place.preset]
    link = {"jira": "/browse/NET-1", "servicenow-incident": f"/incident.do?sys_id={1:032x}"}[place.preset]
    assert record.posting.url == place.desk.url + link


async def test_an_alert_keeps_its_labels_and_lasts(record: Parts) -> None:
    """It fires for as long as was asked, and is resolved by the labels that it was fired with."""
    place = AlertmanagerPlace()
    async with place.desk:
        await settle(place, record, failed("k1"))
        [ticket] = place.desk.tickets
        assert ticket.fields["ends"] > time.time() + 360 * 86400
        assert ticket.fields["labels"]["controller"] == "emea"
        assert ticket.fields["labels"]["job"] == "42"
        place.options = {"labels": {"severity": "page"}, "lasts": "1h"}
        await settle(place, record, recovered("k2", Purpose.FOLLOW))
        assert "failed" in ticket.history[-1][1].splitlines()[0]  # what is still wrong stays its title
        assert ticket.fields["ends"] < time.time() + 3601
        await settle(place, record, recovered("k3"))
        assert not ticket.open
        await settle(place, record, failed("k4"))
        assert place.desk.tickets[1].fields["labels"]["severity"] == "page"


async def test_a_note_that_is_still_to_come(record: Parts) -> None:
    """Opsgenie counts an open alert up first, and gets the event as a note, which a retry completes."""
    place = OpsgeniePlace()
    async with place.desk:
        await settle(place, record, failed("k1"))
        sink = place.sink()
        place.desk.fail_next("note", ServiceFault("respond", status=503))
        message = failed("k2")
        parts = Parts()
        parts.posting = record.posting
        assert isinstance(await sink.send(parts.next(message), parts), RetryLater)
        assert isinstance(await sink.send(parts.resumed(message), parts), Sent)
        await sink.close()
        [ticket] = place.desk.tickets
        assert ticket.done == ["open", "update"]
        assert ticket.fields["count"] == 2


@pytest.mark.parametrize("base", ["", "/prefix"])
async def test_a_url_with_the_path_already_in_it(base: str) -> None:
    """People copy whole addresses: the preset's path is not put behind itself."""
    for make in (JiraPlace, AlertmanagerPlace):
        place = make()
        place.desk.url = f"http://127.0.0.1:9{base}"
        suffix = {"jira": "/rest/api/3", "alertmanager": "/api/v2/alerts"}[place.preset]
        plain: Any = place.sink()
        place.desk.url += suffix
        whole: Any = place.sink()
        address = {"jira": "_api", "alertmanager": "_root"}[place.preset]
        assert getattr(plain, address) == getattr(whole, address)
        await plain.close()
        await whole.close()
