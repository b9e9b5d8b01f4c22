"""The check of a whole message against Slack's limits."""

from typing import Any

import pytest

from cmc_notify.sinks.slack.limits import violations


def section(text: str) -> dict[str, Any]:
    """A section of mrkdwn."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def plain(text: str) -> dict[str, str]:
    """A plain text object."""
    return {"type": "plain_text", "text": text}


def button(**more: Any) -> dict[str, Any]:
    """An actions block with one button."""
    return {"type": "actions", "elements": [{"type": "button", "text": plain("ok"), **more}]}


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ([section("x" * 3001)], "section: 3001 characters, at most 3000"),
        ([section("\U0001f4a5" * 1501)], "section: 3002 characters"),
        ([section(" \n")], "section: blank"),
        ([{"type": "section"}], "neither text nor fields"),
        ([{"type": "section", "fields": [plain("x" * 2001)]}], "fields[0]: 2001 characters, at most 2000"),
        ([{"type": "section", "fields": [plain("")]}], "fields[0]: blank"),
        ([{"type": "section", "fields": [plain("x")] * 11}], "11 fields, at most 10"),
        ([{"type": "header", "text": plain("x" * 151)}], "header: 151 characters, at most 150"),
        ([{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}], "no text object of type plain_text"),
        ([{"type": "context", "elements": []}], "context: 0 elements"),
        ([{"type": "context", "elements": [plain("x")] * 11}], "context: 11 elements"),
        ([{"type": "actions", "elements": [{"text": plain("x")}] * 26}], "actions: 26 elements"),
        ([button(text=plain("x" * 76))], "elements[0].text: 76 characters"),
        ([button(value="x" * 2001)], "elements[0].value: 2001 characters"),
        ([button(url="x" * 3001)], "elements[0].url: 3001 characters"),
        ([button(action_id="x" * 256)], "elements[0].action_id: 256 characters"),
        ([{"type": "divider", "block_id": "x" * 256}], "block_id: 256 characters"),
        ([{"type": "markdown", "text": "x" * 6001}] * 2, "markdown blocks: 12002 characters in all"),
        ([{"type": "markdown", "text": " "}], "markdown: blank"),
        ([{"type": "rich_text"}], "'rich_text' is not known"),
        (["text"], "not an object"),
        ([{"type": "divider"}] * 51, "blocks: 51, at most 50"),
        ([section("x" * 2900)] * 5, "more than 13000 characters in all"),
        ("text", "blocks: not a list"),
    ],
)
def test_each_broken_limit_is_told_with_its_place(blocks: Any, told: str) -> None:
    """Fields and blank texts too, which the SDK's own check lets through."""
    assert told in "\n".join(violations({"text": "x", "blocks": blocks}))


@pytest.mark.parametrize("text", [None, "", "  ", "x" * 4001])
def test_the_notification_text_is_checked(text: str | None) -> None:
    """A message needs a text that people see in a notification, of at most 4,000 characters."""
    assert violations({"text": text, "blocks": [section("x")]})


def test_a_message_at_the_limits_is_good() -> None:
    """The greatest allowed lengths are no violations."""
    blocks = [
        {"type": "header", "text": plain("x" * 150)},
        section("x" * 3000),
        {"type": "section", "fields": [plain("x" * 100)] * 10},
        {"type": "context", "elements": [plain("x")] * 10},
        button(text=plain("x" * 75), value="x" * 2000, url="https://x", action_id="x" * 255),
        {"type": "divider"},
    ]
    assert violations({"text": "x" * 4000, "blocks": blocks}) == []
