"""The check of a whole message against Slack's limits."""

from typing import Any

import pytest

from cmc_notify.simulator.slack_rules import refusal
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


def confirm(**texts: str) -> dict[str, Any]:
    """A dialog that asks whether it is meant."""
    usual = {"title": "Sure?", "text": "It can't be undone.", "confirm": "Do it", "deny": "No"}
    return {name: plain(text) for name, text in (usual | texts).items()}


def option(**more: Any) -> dict[str, Any]:
    """One choice of a menu."""
    return {"text": plain("1 hour"), "value": "1h", **more}


def select(**more: Any) -> dict[str, Any]:
    """An actions block with one menu."""
    return {"type": "actions", "elements": [{"type": "static_select", "options": [option()], **more}]}


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
        (
            [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
            "not a text object of type plain_text",
        ),
        ([{"type": "context", "elements": []}], "context: 0 elements"),
        ([{"type": "context", "elements": [plain("x")] * 11}], "context: 11 elements"),
        ([{"type": "actions", "elements": [{"type": "button", "text": plain("x")}] * 26}], "26 elements"),
        ([{"type": "actions", "elements": [{"type": "datepicker"}]}], "'datepicker' is not known"),
        (
            [{"type": "actions", "elements": [{"type": "button", "action_id": "x", "text": plain("x")}] * 2}],
            "twice",
        ),
        ([button(confirm=confirm(title="x" * 101))], "confirm.title: 101 characters, at most 100"),
        ([button(confirm=confirm(text="x" * 301))], "confirm.text: 301 characters, at most 300"),
        ([button(confirm=confirm(confirm="x" * 31))], "confirm.confirm: 31 characters, at most 30"),
        ([button(confirm=confirm(deny=""))], "confirm.deny: blank"),
        ([select(placeholder=plain("x" * 151))], "placeholder: 151 characters, at most 150"),
        ([select(options=[])], "0 options, 1 to 100"),
        ([select(options=[option()] * 101)], "101 options"),
        ([select(type="overflow", options=[option()] * 6)], "6 options, 1 to 5"),
        ([select(options=[option(text=plain("x" * 76))])], "options[0].text: 76 characters, at most 75"),
        ([select(options=[option(value="x" * 151)])], "options[0].value: 151 characters, at most 150"),
        ([select(options=[option(value="")])], "options[0].value: missing"),
        ([{"type": "divider", "block_id": "x"}] * 2, "a block_id is used twice"),
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


@pytest.mark.parametrize(
    "block",
    [
        button(confirm=confirm(title="x" * 101)),
        button(confirm=confirm(text="x" * 301)),
        button(confirm=confirm(deny="")),
        button(style="loud"),
        select(options=[]),
        select(options=[option()] * 101),
        select(type="overflow", options=[option()] * 6),
        select(options=[option(value="x" * 151)]),
        select(placeholder=plain("x" * 151)),
        {"type": "actions", "elements": [{"type": "button", "action_id": "x", "text": plain("x")}] * 2},
        {"type": "actions", "elements": [{"type": "datepicker"}]},
    ],
)
def test_the_server_refuses_what_slack_would(block: dict[str, Any]) -> None:
    """Its rules are its own: what breaks a documented limit never looks well in a test."""
    assert refusal({"text": "x", "blocks": [block]}) == "invalid_blocks"


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
        button(text=plain("x" * 75), value="x" * 2000, url="https://x", action_id="x" * 255)
        | {"block_id": "x" * 255},
        select(
            placeholder=plain("x" * 150),
            options=[option(text=plain("x" * 75), value="x" * 150)],
            confirm=confirm(title="x" * 100, text="x" * 300, confirm="x" * 30, deny="x" * 30),
        ),
        {"type": "divider"},
    ]
    assert violations({"text": "x" * 4000, "blocks": blocks}) == []
    assert refusal({"text": "x" * 4000, "blocks": blocks}) is None
