"""One story for every ticket preset, each against a service that takes only what its vendor documents."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.outcome import Blocked, RetryLater, Sent, Unclear
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message, Previewing
from cmc_notify.simulator.tickets import ServiceFault
from support.recorded_parts import Parts
from support.ticket_services import PLACES, TicketPlace

SUBJECT = "job:emea:42"


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[TicketPlace]:
    """Each preset in turn."""
    made = PLACES[request.param]()
    async with made.desk:
        yield made


def failed(key: str = "k1", event: Event | None = None, subject: str = SUBJECT) -> Message:
    """A failure that opens a ticket."""
    return Message(key=key, event=event or sample(EventType.JOB_FAILED), subject=subject)


def followed(key: str = "k2") -> Message:
    """A recovery of some of what failed."""
    event = sample(EventType.APPLIANCE_RECOVERED)
    return Message(key=key, event=event, subject=SUBJECT, purpose=Purpose.FOLLOW)


def closed(key: str = "k3") -> Message:
    """The recovery of the rest."""
    event = sample(EventType.APPLIANCE_RECOVERED)
    return Message(key=key, event=event, subject=SUBJECT, purpose=Purpose.CLOSE)


def stands(record: Parts) -> bool:
    """Return True if a ticket is recorded as open."""
    assert record.posting
    return record.posting.open


async def test_open_update_resolve_under_one_key(place: TicketPlace, record: Parts) -> None:
    """A failure opens one ticket, what follows goes into it, a recovery closes it with its words."""
    sink = place.sink()
    assert isinstance(await sink.send(failed(), record), Sent)
    assert stands(record)
    [ticket] = place.desk.open_tickets()
    for text in ("Rule 12: class 'voice' is not defined", "Time-out after 120 s", "paris-edge-1"):
        assert text in ticket.history[0][1]
    assert isinstance(await sink.send(record.next(failed("k1b")), Parts()), Sent)
    assert isinstance(await sink.send(record.next(followed()), record), Sent)
    assert [ticket] == place.desk.open_tickets()
    assert len(ticket.history) == 1 + place.updates
    assert isinstance(await sink.send(record.next(closed()), record), Sent)
    assert not stands(record)
    assert [ticket] == place.desk.tickets
    assert place.desk.open_tickets() == []
    assert "works again" in "".join(text for _, text in ticket.history[-2:])
    assert place.desk.refusals == []
    await sink.close()


async def test_a_trigger_after_a_resolve(place: TicketPlace, record: Parts) -> None:
    """The same failure again opens a ticket again, be it a new one or the old."""
    sink = place.sink()
    for message in (failed(), closed(), failed("k4")):
        assert isinstance(await sink.send(record.next(message), record), Sent)
    assert stands(record)
    assert len(place.desk.open_tickets()) == 1
    assert isinstance(await sink.send(record.next(closed("k5")), record), Sent)
    assert place.desk.open_tickets() == []
    await sink.close()


@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_answer_makes_no_second_ticket(place: TicketPlace, record: Parts, done: bool) -> None:
    """With or without the effect of the lost request, there is one ticket in the end, notified once."""
    sink = place.sink()
    place.desk.fail_next(place.create, ServiceFault("drop", done=done))
    message = failed()
    outcome = await sink.send(message, record)
    assert isinstance(outcome, Unclear)
    assert record.recorded == {}
    for attempt in range(2, 5):
        again = msgspec.structs.replace(record.resumed(message, unclear=True), attempt=attempt)
        outcome = await sink.send(again, record)
        if isinstance(outcome, Sent):
            break
    assert isinstance(outcome, Sent)
    assert len(place.desk.tickets) == 1
    assert stands(record)
    assert "may be a repeat" not in place.desk.tickets[0].history[-1][1]
    await sink.close()


async def test_what_could_not_be_recorded_is_closed(place: TicketPlace, record: Parts) -> None:
    """A ticket of which nothing is known any more is found by its key, and closed."""
    sink = place.sink()
    assert isinstance(await sink.send(failed(), Parts()), Sent)
    assert isinstance(await sink.send(closed(), record), Sent)
    assert [ticket.open for ticket in place.desk.tickets] == [False]
    assert not stands(record)
    await sink.close()


async def test_what_is_recorded_is_not_sent_again(place: TicketPlace, record: Parts) -> None:
    """A crash after the record and before the verdict repeats nothing."""
    sink = place.sink()
    for message in (failed(), closed()):
        parts = Parts()
        parts.posting = record.posting
        assert isinstance(await sink.send(parts.next(message), parts), Sent)
        writes = list(place.desk.applied)
        assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
        assert place.desk.applied == writes
        record.posting = parts.posting
    await sink.close()


async def test_nothing_open_stays_closed(place: TicketPlace, record: Parts) -> None:
    """A follow opens nothing, neither without a ticket nor with a closed one; nor does a second close."""
    sink = place.sink()
    assert isinstance(await sink.send(followed(), record), Sent)
    assert place.desk.tickets == []
    for message in (failed(), closed()):
        await sink.send(record.next(message), record)
    writes = list(place.desk.applied)
    for message in (followed("k6"), closed("k7")):
        assert isinstance(await sink.send(record.next(message), record), Sent)
    assert place.desk.open_tickets() == []
    assert place.desk.applied == writes
    await sink.close()


async def test_no_secret_in_a_reason_or_a_preview(place: TicketPlace, record: Parts) -> None:
    """A service that repeats the credentials does not bring them into a reason, nor does a preview."""
    sink = place.sink()
    place.refuse_credentials()
    outcome = await sink.send(failed(), record)
    assert isinstance(outcome, Blocked)
    assert place.secret not in outcome.reason
    assert isinstance(sink, Previewing)
    for kind in EventType:
        shown = sink.preview(failed(event=sample(kind)))
        assert shown
        assert not any(place.secret in document.text for document in shown)
    assert any("POST" in document.text for document in sink.preview(failed()))
    assert place.desk.tickets == []
    await sink.close()


async def test_a_page_is_no_answer(place: TicketPlace, record: Parts) -> None:
    """Success with a page (a proxy's log-in, an instance that hibernates) took nothing: it is for later."""
    sink = place.sink()
    page = ServiceFault("respond", body="<!doctype html><title>Log in</title>")
    place.desk.fail_next(place.create, page)
    assert isinstance(await sink.send(failed(), record), RetryLater)
    assert record.recorded == {}
    assert isinstance(await sink.send(failed(), record), Sent)
    await sink.close()


async def test_a_probe_changes_nothing(place: TicketPlace) -> None:
    """It finds a healthy service healthy."""
    sink = place.sink()
    assert isinstance(await sink.probe(), Sent)
    assert place.desk.tickets == []
    assert place.desk.applied == []
    await sink.close()


async def test_a_body_of_the_users_own(place: TicketPlace, record: Parts, tmp_path: Any) -> None:
    """A JSON template of the preset's folder goes out as it is, in the place of the preset's own body."""
    from cmc_notify.rendering import Renderer  # noqa: PLC0415  only here

    (tmp_path / place.preset).mkdir()
    own = tmp_path / place.preset / "job.failed.json.j2"
    own.write_text('{"mine": {{ subject | json }}}')
    sink = place.sink(Renderer([tmp_path]))
    await sink.send(failed(), record)
    assert {"mine": SUBJECT} in [document for _, document in place.desk.calls]
    await sink.close()
