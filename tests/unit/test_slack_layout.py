"""Rendered text as Block Kit messages: within every limit, nothing lost."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.simulator.slack_rules import refusal
from cmc_notify.sinks.slack.layout import Layout, lay_out, sections
from cmc_notify.sinks.slack.limits import violations

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="`&<>\r\n")
WORDS = st.one_of(
    st.text(CHARACTERS, max_size=30),
    st.sampled_from(["&amp;", "&lt;", "&gt;", "<https://bridge.example/e?a=1&amp;b=2|All details>", " "]),
)
LINES = st.builds(
    lambda words, times: "".join(words) * times, st.lists(WORDS, max_size=4), st.sampled_from([1, 1, 1, 90])
)
DOCUMENTS = st.lists(st.one_of(LINES, st.sampled_from(["---", "```", "", "*bold*"])), max_size=20)


def texts(layout: Layout) -> list[str]:
    """The text of every section and header."""
    return [block["text"]["text"] for page in layout.messages for block in page["blocks"] if "text" in block]


def squashed(text: str) -> str:
    """The text without white space and fences, which layout may add or leave out at its joints."""
    return re.sub(r"\s|```", "", text)


def problems(payload: dict[str, Any]) -> list[str]:
    """Return the violations of a message by both checks."""
    refused = refusal(payload)
    return violations(payload) + ([refused] if refused else [])


@given(DOCUMENTS)
def test_every_layout_is_within_every_limit(lines: list[str]) -> None:
    """Whatever the text, neither our own check nor the server's finds anything to refuse."""
    layout = lay_out("\n".join(lines), most=6, notice="*7 more* <https://bridge.example/e|are there>")
    assert 1 <= len(layout.messages) <= 6
    for payload in layout.messages:
        assert problems(payload) == []


@given(DOCUMENTS)
def test_sections_hold_the_whole_text_in_order(lines: list[str]) -> None:
    """The sections joined are the text, but for blank lines and fences at the joints."""
    assert squashed("\n".join(sections(lines))) == squashed("\n".join(lines))


@given(DOCUMENTS)
def test_a_complete_layout_holds_the_whole_text(lines: list[str]) -> None:
    """A layout says that it is complete only if all of the text is in it."""
    layout = lay_out("\n".join(["Headline", *lines]), most=1000)
    assert layout.complete
    body = "".join(text for text in texts(layout) if not re.fullmatch(r"Headline( \(\d+/\d+\))?", text))
    fenced, kept = False, []
    for line in lines:
        fenced ^= line == "```"
        if line != "---" or fenced:
            kept.append(line)
    assert squashed(body) == squashed("\n".join(kept))


@given(DOCUMENTS)
def test_no_section_cuts_an_escape_a_link_or_a_fence(lines: list[str]) -> None:
    """Each section stands alone: fences closed, escapes and links whole."""
    for text in sections(lines):
        assert text.count("```") % 2 == 0
        assert "&" not in re.sub(r"&(?:amp|lt|gt);", "", text)
        assert text.count("<") == text.count(">")
        assert len(text.encode("utf-16-le")) // 2 <= 3000


def test_a_long_line_in_a_fence_is_continued_in_the_next_fence() -> None:
    """A line of 20,000 characters spans several sections, each a closed code block, and loses nothing."""
    line = "".join(f"{number:06}&amp;" for number in range(2000))
    found = list(sections(["```", line, "```"]))
    assert len(found) > 5
    assert all(text.startswith("```\n") and text.endswith("\n```") for text in found)
    assert "".join(text.removeprefix("```\n").removesuffix("\n```") for text in found) == line


@pytest.mark.parametrize("token", ["```", "&amp;", "<https://bridge.example/?a=1&amp;b=2|here>"])
def test_a_token_at_the_place_of_a_cut_stays_whole(token: str) -> None:
    """Wherever in a long line it stands, a fence's mark, an escape or a link is in one section."""
    for before in range(2850, 2910):
        found = list(sections(["z" * before + token + "y" * 3000]))
        assert sum(text.count(token) for text in found) >= 1
        assert "".join(found).replace("\n", "").replace("```", "").count("z") == before


def test_a_line_of_hyphens_divides_only_outside_a_fence() -> None:
    """An error text that holds ``---`` stays in its code block."""
    layout = lay_out("Headline\nabove\n---\n```\none\n---\ntwo\n```", most=1)
    kinds = [block["type"] for block in layout.messages[0]["blocks"]]
    assert kinds == ["header", "section", "divider", "section"]
    assert texts(layout)[-1] == "```\none\n---\ntwo\n```"


def test_parts_are_numbered_in_their_headers() -> None:
    """A reader of several messages sees which is which."""
    layout = lay_out("Job 42 failed\n" + "x" * 25_000, most=5)
    heads = [page["blocks"][0]["text"]["text"] for page in layout.messages]
    assert heads == [f"Job 42 failed ({n}/{len(heads)})" for n in range(1, len(heads) + 1)]


def test_what_does_not_fit_is_cut_only_with_the_notice() -> None:
    """The last of too few messages ends with what the caller says about the rest."""
    layout = lay_out("Headline\n" + "line\n" * 20_000, most=2, notice="*much more* elsewhere")
    assert not layout.complete
    assert len(layout.messages) == 2
    assert texts(layout)[-1] == "*much more* elsewhere"


def test_an_over_long_headline_is_whole_in_the_body() -> None:
    """The notification shows the headline's beginning, the message all of it, escapes intact."""
    headline = "&amp;" * 1000
    layout = lay_out(f"{headline}\nbody", most=1)
    assert layout.messages[0]["text"].endswith("&amp;…")
    assert headline in "".join(texts(layout))


def test_an_empty_text_is_still_a_message() -> None:
    """A template that gives nothing must not make the alert vanish."""
    [payload] = lay_out("\n \n", most=1).messages
    assert problems(payload) == []
    assert "empty message" in payload["text"]
