"""Texts within a receiver's limit."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.events import EventType
from cmc_notify.core.samples import many_failures, sample
from cmc_notify.ports import Message, Rendered, SizeLimits
from cmc_notify.rendering import Renderer
from cmc_notify.sinks.shorter_text import ROOMS, cut_text, json_bytes, label, render_within, utf16_length

MEASURES = [len, utf16_length, json_bytes]


class Stubborn:
    """A user's template that heeds no room."""

    def render(
        self,
        sink_type: str,
        extension: str,
        message: Message,
        *,
        brief: bool = False,
        size_limits: SizeLimits | None = None,
    ) -> Rendered:
        """The same long text for everything."""
        del sink_type, extension, message, brief, size_limits
        return Rendered("\U0001f600" * 10_000)


@given(text=st.text(), limit=st.integers(1, 50), measure=st.sampled_from(MEASURES))
def test_a_cut_is_the_longest_that_fits(text: str, limit: int, measure: object) -> None:
    """Within the limit by each way to count, between characters, and not shorter than it has to be."""
    assert measure in MEASURES
    count = MEASURES[MEASURES.index(measure)]
    tail = "…" if count("…") <= limit else ""
    found = cut_text(text, limit, count, tail=tail)
    assert count(found) <= limit
    if found != text:
        kept = found.removesuffix(tail)
        assert text.startswith(kept)
        assert count(text[: len(kept) + 1]) + count(tail) > limit


@pytest.mark.parametrize("url", ["https://bridge.example.net/events/1", None])
def test_a_template_that_can_not_be_short_is_cut_and_says_where_the_whole_is(url: str | None) -> None:
    """The end is ours: that it is cut off, and the link to the whole or the command that lists it."""
    event = msgspec.structs.replace(sample(EventType.JOB_FAILED), url=url)
    text = render_within(
        Message(key="k", event=event), Stubborn(), "x", "txt", limit=2000, measure=utf16_length
    )
    assert utf16_length(text) in (1999, 2000)
    assert text.endswith(url or f"`cmc-notify failures` lists all, the bridge's ledger has event {event.id}")


def test_the_roomiest_that_fits_is_taken() -> None:
    """More room is used where there is some, down to one cause where there is none."""
    message = Message(key="k", event=many_failures(300))
    renderer = Renderer()
    shown = [
        render_within(message, renderer, "jira", "txt", limit=limit, measure=utf16_length).count(
            " failed on "
        )
        for limit in (100_000, 20_000, 4_000, 2_000, 900)
    ]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] == 300
    assert 1 <= shown[-1] < shown[0]


def test_rooms_get_narrower() -> None:
    """The search for the first that fits relies on it."""
    for roomy, narrow in pairwise(ROOMS):
        assert all(getattr(roomy, name) >= getattr(narrow, name) for name in SizeLimits.__struct_fields__)


def test_a_label_is_one_short_line() -> None:
    """Nothing hidden in it, nothing that a document refuses."""
    assert label("a\n\tb\u202ec\x00") == "a b[U+202E]c␀"
    assert label("x" * 300) == "x" * 199 + "…"
    assert label("\ud800") == "?"
