"""The requests of each preset are accepted for every event, and say what they leave out and where it is."""

import asyncio
import re

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import Event, EventType, Failure, Recovery
from cmc_notify.core.grouping import group_failures
from cmc_notify.core.outcome import Sent
from cmc_notify.core.samples import HOSTILE_TEXT, many_failures, sample, samples
from cmc_notify.core.text import visible
from cmc_notify.core.ticketing import OPENING
from cmc_notify.ports import Message
from support.recorded_parts import Parts
from support.ticket_services import PLACES

LINK = "https://bridge.example.net/events/1?expires=1798104000&signature=c2FtcGxl"
CAUSE = re.compile(r"cause#(\d+):")
MORE = re.compile(r"([\d,]+) more failures? with [\d,]+ more error texts? did not fit into this message")


def failed(number: int, text: str, *, causes: int, url: str | None) -> Event:
    """A job with this many failures and causes, which differ in their first words."""
    failures = tuple(
        Failure(f"V{n:05d}", f"edge-{n}", 3, "QoS", f"cause#{n % causes}: {text}", new=True)
        for n in range(number)
    )
    return msgspec.structs.replace(sample(EventType.JOB_FAILED), failures=failures, url=url)


def recovered(number: int, *, url: str | None) -> Event:
    """So many appliances that work again, each left failed by another job."""
    recoveries = tuple(
        Recovery(f"V{n:05d}", HOSTILE_TEXT, 3, HOSTILE_TEXT, "2026-11-23T07:05:00Z", n) for n in range(number)
    )
    return msgspec.structs.replace(sample(EventType.APPLIANCE_RECOVERED), recoveries=recoveries, url=url)


async def story(preset: str, *messages: Message) -> list[str]:
    """Send them one after the other to a service that takes only what is right; what stands there then."""
    place = PLACES[preset]()
    async with place.desk:
        sink, record = place.sink(timeout=30), Parts()
        for message in messages:
            assert isinstance(await sink.send(record.next(message), record), Sent), place.desk.refusals
        await sink.close()
    assert place.desk.refusals == []
    return [text for ticket in place.desk.tickets for _, text in ticket.history]


def is_whole_or_says_so(event: Event, text: str) -> None:
    """Each cause is there, or counted; what is shortened says so, and where the whole is."""
    groups = {group.error_text or "": len(group.members) for group in group_failures(event.failures)}
    marks = {int(found) for found in CAUSE.findall(text)}
    shown = [cause for cause in groups if int(CAUSE.findall(cause)[0]) in marks]
    more = MORE.search(text)
    missing = len(event.failures) - sum(groups[cause] for cause in shown)
    assert missing == (int(more[1].replace(",", "")) if more else 0)
    assert shown
    if any(visible(cause) not in text for cause in shown[:5]):
        assert "more characters)" in text
    if more or "more characters)" in text:
        assert "did not fit" in text or "Shortened to fit" in text
        assert event.url in text if event.url else "`cmc-notify failures` lists all" in text


texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=300),
    st.sampled_from([HOSTILE_TEXT, "x", "\U0001f600" * 200, "\u202e\x07", "wide \uff37 " * 30, "\n" * 90]),
).flatmap(lambda text: st.integers(1, 40).map(lambda times: (text * times)[:20_000]))


@pytest.mark.parametrize("preset", PLACES)
@settings(max_examples=3)
@given(number=st.integers(1, 60), text=texts, causes=st.integers(1, 60), linked=st.booleans())
@example(number=50, text=HOSTILE_TEXT * 70, causes=50, linked=True)
def test_any_failure_is_taken(preset: str, number: int, text: str, causes: int, linked: bool) -> None:
    """Of any size and with any text, whole or counted."""
    event = failed(number, text, causes=min(causes, number), url=LINK if linked else None)
    stands = asyncio.run(story(preset, Message(key="k1", event=event, subject="job:emea:42")))
    assert len(stands) == 1
    is_whole_or_says_so(event, stands[0])


@pytest.mark.parametrize("preset", ["jira", "pagerduty", "servicenow"])
def test_ten_thousand_failures_are_taken(preset: str) -> None:
    """By each way to count: a document's units, bytes of JSON, units of text."""
    event = failed(10_000, "x" * 500, causes=10_000, url=LINK)
    stands = asyncio.run(story(preset, Message(key="k1", event=event, subject="job:emea:42")))
    is_whole_or_says_so(event, stands[0])


@pytest.mark.parametrize("preset", PLACES)
def test_every_kind_of_event_is_taken(preset: str) -> None:
    """Every sample that opens a ticket, hostile, null and odd ones included, and many recoveries."""
    events = [*(event for event in samples() if event.type in OPENING), many_failures(500)]
    assert len(events) > 10
    opening = [Message(key=f"k{n}", event=event, subject="job:emea:42") for n, event in enumerate(events)]
    event = recovered(1500, url=LINK)
    closing = Message(key="c", event=event, subject="job:emea:42", purpose=Purpose.CLOSE)
    stands = asyncio.run(story(preset, *opening, closing))
    last = "".join(stands[-2:])
    assert "works again" in last
    assert re.search(r"[\d,]+ more recoveries did not fit", last)
    assert LINK in last


@pytest.mark.parametrize("preset", PLACES)
def test_any_subject_is_a_key(preset: str) -> None:
    """Also a long or an odd one opens and closes one ticket, apart from those that are like it."""
    for subject in ("failure:emea:" + "V" * 3000 + ":3", "failure:emea:a b\"'\\^\u202e=,\U0001f600:3"):
        other = f"{subject}!"
        told = [
            Message(key="k", event=sample(EventType.JOB_FAILED), subject=each) for each in (subject, other)
        ]
        closed = Message(
            key="c",
            event=sample(EventType.APPLIANCE_RECOVERED),
            subject=subject,
            purpose=Purpose.CLOSE,
        )

        async def play(*, messages: tuple[Message, ...] = (*told, closed)) -> tuple[int, int]:
            place = PLACES[preset]()
            async with place.desk:
                sink = place.sink()
                for message in messages:
                    assert isinstance(await sink.send(message, Parts()), Sent), place.desk.refusals
                await sink.close()
            return len(place.desk.tickets), len(place.desk.open_tickets())

        assert asyncio.run(play()) == (2, 1)
