"""Messages larger than their medium."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.events import Event, EventType, Failure, decode, encode
from cmc_notify.ports import Message
from cmc_notify.sinks.fewer_failures import fit_failures, fit_failures_in_thread


def message(sizes: list[int], omitted: int = 0) -> Message:
    """An event with one failure for each size of error text."""
    failures = tuple(Failure(str(n), None, n, None, "x" * size, new=True) for n, size in enumerate(sizes))
    event = Event(
        id="1",
        type=EventType.APPLIANCE_FAILED,
        time="2026-11-23T09:20:00Z",
        severity="error",
        controller="emea",
        url="https://bridge.example.net/events/1?sig=x",
        failures=failures,
        failures_omitted=omitted,
    )
    return Message(key="k", event=event)


def document(made: Message) -> bytes:
    """The plain event."""
    return encode(made.event)


@given(
    sizes=st.lists(st.integers(0, 3000), max_size=40),
    limit=st.integers(600, 60_000),
    omitted=st.integers(0, 3),
)
def test_failures_that_do_not_fit_are_counted(sizes: list[int], limit: int, omitted: int) -> None:
    """The document fits, shows the first failures whole, counts the others and keeps the link to all."""
    whole = message(sizes, omitted)
    made = fit_failures(whole, document, limit)
    assert made is not None
    assert len(made) <= limit
    event = decode(made)
    assert event.url == whole.event.url
    assert event.failures == whole.event.failures[: len(event.failures)]
    assert len(event.failures) + event.failures_omitted == len(sizes) + omitted
    if len(document(whole)) <= limit:
        assert event == whole.event


def test_little_room_is_wasted() -> None:
    """Of many failures nearly as many are shown as fit."""
    made = fit_failures(message([500] * 1000), document, 100_000)
    assert made is not None
    assert len(made) > 85_000


def test_a_frame_that_is_too_large_is_told() -> None:
    """If the message does not fit even without any failure, there is no document."""
    assert fit_failures(message([10, 10]), document, 100) is None
    assert fit_failures(message([]), document, 100) is None


@pytest.mark.parametrize(
    ("sizes", "aside"), [([10] * 199, False), ([10] * 200, True), ([20_000] * 50, True), ([2_000_000], True)]
)
async def test_what_takes_long_is_made_beside_the_loop(sizes: list[int], aside: bool) -> None:
    """Many failures, or few with long texts: polls and other sinks go on meanwhile."""
    made_in: list[int] = []

    def make(shown: Message) -> bytes:
        made_in.append(threading.get_ident())
        return document(shown)

    await fit_failures_in_thread(message(sizes), make, 16_000_000)
    assert (made_in[0] != threading.get_ident()) is aside
