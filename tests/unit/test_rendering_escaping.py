"""No text from outside can break a document or hide in it: property tests for each format."""

import html
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cmc_notify.core.events import Event, EventType, Failure, FeatureRef, Recovery, Targets, decode
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.errors import TemplateError
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer


def _refuse(error: TemplateError) -> None:
    raise AssertionError(error)


_RENDERER = Renderer(on_fallback=_refuse)
_SPACE = "\u200b"
_texts = st.text(min_size=1) | st.text(
    st.sampled_from("`-<>!@&#|*_\\\"'{}%\n\r\t \x00\x1b\x85\u202e\u2028/ascript"), min_size=1
)


def _event(text: str, kind: EventType = EventType.JOB_FAILED) -> Event:
    """An event whose every free text is ``text``."""
    event = sample(kind)
    assert event.job
    job = msgspec.structs.replace(
        event.job,
        operation=text,
        status=text,
        error_text=text,
        features=(FeatureRef(3, text, text),),
        targets=Targets(serials=("V1", text)),
    )
    return msgspec.structs.replace(
        event,
        job=job,
        reason=text,
        failures=(Failure(text, text, 3, text, text, new=True), Failure("S", None, 4, "f", text, new=False)),
        recoveries=(Recovery(text, text, 3, text, event.time, 40),),
    )


def _render(text: str, sink: str, extension: str, *, brief: bool = False) -> str:
    return _RENDERER.render(sink, extension, Message(key="k", event=_event(text)), brief=brief).text


class _Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":  # how a text's lines are kept apart
            self.text += "\n"
        else:
            self.tags.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.text += data


_PLAIN_TAGS = _Page(_render("x", "email", "html")).tags


@given(_texts)
@example(HOSTILE_TEXT)
def test_html_keeps_its_tags_and_shows_the_text(text: str) -> None:
    """Whatever a text holds, a mail has the same tags, and the text stands in it whole."""
    page = _Page(_render(text, "email", "html"))
    assert page.tags == _PLAIN_TAGS
    assert page.text.count(visible(text)) >= 3


@given(_texts)
@example(HOSTILE_TEXT)
def test_the_webhook_gets_the_event_exactly(text: str) -> None:
    """The JSON document decodes to the very event, control characters included."""
    assert decode(_render(text, "webhook", "json")) == _event(text)


@given(_texts)
@example(HOSTILE_TEXT)
@example("a\n---\nb")
@example("````")
def test_slack_text_forms_nothing(text: str) -> None:
    """No mention, link, divider or end of a fence comes from a text, and all of it is there."""
    document = _render(text, "slack", "mrkdwn")
    plain = _render("x", "slack", "mrkdwn")
    assert "<!" not in document
    assert "<@" not in document
    assert document.count("<") == plain.count("<")
    assert document.count(">") == plain.count(">")
    assert document.count("```") == plain.count("```")
    assert [line.strip() for line in document.splitlines()].count("---") == plain.split("\n").count("---")
    shown = html.unescape(document).replace(_SPACE, "")
    assert shown.count(visible(text).replace(_SPACE, "")) >= 3


@given(_texts)
@example(HOSTILE_TEXT)
@pytest.mark.parametrize("sink", ["email", "slack"])
def test_plain_lists_hold_the_text_as_it_came(sink: str, text: str) -> None:
    """A plain list can be searched for any error text; only what would act unseen has a sign instead."""
    document = _render(text, sink, "txt")
    assert document.count(visible(text)) >= 3
    assert visible(document) == document


@given(_texts)
@example(HOSTILE_TEXT)
def test_the_terminal_gets_no_control_character(text: str) -> None:
    """On the console every line of the text is there, indented, and nothing that a terminal obeys."""
    document = _render(text, "console", "txt")
    assert not any(ord(char) < 0x20 and char not in "\n\t" for char in document)
    lines = [line.strip(" ") for line in document.split("\n")]
    assert all(line.strip(" ") in lines for line in visible(text).split("\n"))


@given(_texts)
@example(HOSTILE_TEXT)
def test_a_subject_is_one_line(text: str) -> None:
    """A mail's subject has no line break and no control character, whatever the names are."""
    document = _render(text, "email", "subject")
    assert document.isprintable() or not any(
        ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in document
    )
    assert len(document.splitlines()) == 1


@given(_texts)
@example(HOSTILE_TEXT)
def test_one_value_is_right_in_any_user_template(text: str) -> None:
    """Printing, joining, concatenating, macros, set blocks and constants all escape once, and only once."""
    shown = json.loads(_JSON_USER.render_strictly("custom", "json", Message(key="k", event=_event(text))))
    assert shown == {
        "plain": text,
        "tilde": f"it's [{text}]{text}",
        "plus": f"<{text}[{text}]",
        "join": f"{text}, [{text}]",
        "set": text,
        "call": f"({text})",
        "whole": text,
        "constant": 'say "no" & \\',
        "escaped": text,
        "null": "",
        "flag": True,
    }


_USER = r"""
{%- macro boxed(t) %}[{{ t }}]{% endmacro %}
{%- macro around() %}({{ caller() }}){% endmacro %}
{%- set text = failures[0].error_text %}
{%- set block %}{{ text }}{% endset -%}
{"plain": "{{ text }}", "tilde": "{{ "it's " ~ boxed(text) ~ text }}",
 "plus": "{{ "<" + text + boxed(text) }}",
 "join": "{{ [text, boxed(text)] | join(", ") }}", "set": "{{ block }}",
 "call": "{% call around() %}{{ text }}{% endcall %}", "whole": {{ text | json }},
 "constant": "{{ 'say "no" & \\' }}", "escaped": "{{ text | e }}", "null": "{{ none }}", "flag": {{ true }}}
"""


def _json_user(tmp: Path) -> Renderer:
    folder = tmp / "custom"
    folder.mkdir(parents=True)
    (folder / "default.json.j2").write_text(_USER)
    return Renderer([tmp])


@pytest.fixture(scope="module", autouse=True)
def _user_templates(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _JSON_USER  # noqa: PLW0603  hypothesis wants no function-scoped fixture
    _JSON_USER = _json_user(tmp_path_factory.mktemp("templates"))


_JSON_USER: Renderer
