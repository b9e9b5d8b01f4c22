"""Slack's limits, and a check of a whole message against them.

Guarantee: a message without violations is within every limit that Slack documents for the blocks known here.
Lengths are in UTF-16 units, the strictest reading of "characters". Source: Slack's reference of blocks, block
elements and composition objects and, for all blocks together, reports of ``msg_blocks_too_long`` at 13,172 to
13,297 characters.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cmc_notify.sinks.shorter_text import utf16_length

Payload = dict[str, Any]
Block = dict[str, Any]

TEXT = 4000
BLOCKS = 50
ALL_BLOCKS = 13_000
SECTION = 3000
FIELDS, FIELD = 10, 2000
HEADER = 150
CONTEXT_ELEMENTS = 10
ACTIONS = 25
BUTTON_TEXT, BUTTON_VALUE, BUTTON_URL = 75, 2000, 3000
IDENTIFIER = 255
PLACEHOLDER = 150
OVERFLOW_OPTIONS = 5
OPTIONS, OPTION_TEXT, OPTION_VALUE = 100, 75, 150
CONFIRM_TITLE, CONFIRM_TEXT, CONFIRM_BUTTON = 100, 300, 30
MARKDOWN = 12_000
PLAIN = ("plain_text",)


def violations(payload: Mapping[str, Any]) -> list[str]:
    """Return what Slack would refuse, one line each with its position; empty for a valid message."""
    return list(_message(payload))


def _message(payload: Mapping[str, Any]) -> Iterator[str]:
    text, blocks = payload.get("text"), payload.get("blocks", [])
    if not isinstance(text, str) or not text.strip():
        yield "text: missing or blank; notifications and screen readers show it"
    elif utf16_length(text) > TEXT:
        yield f"text: {utf16_length(text)} characters, at most {TEXT}"
    if not isinstance(blocks, list):
        yield "blocks: not a list"
        return
    yield from _blocks(blocks)


def _blocks(blocks: list[object]) -> Iterator[str]:
    if len(blocks) > BLOCKS:
        yield f"blocks: {len(blocks)}, at most {BLOCKS}"
    if utf16_length(json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))) > ALL_BLOCKS:
        yield f"blocks: more than {ALL_BLOCKS} characters in all"
    markdown = 0
    for index, block in enumerate(blocks):
        for problem in _block(block):
            yield f"blocks[{index}]: {problem}"
        if isinstance(block, dict) and block.get("type") == "markdown":
            markdown += utf16_length(str(block.get("text", "")))
    named = [block["block_id"] for block in blocks if isinstance(block, dict) and "block_id" in block]
    if len(set(named)) < len(named):
        yield "blocks: a block_id is used twice"
    if markdown > MARKDOWN:
        yield f"markdown blocks: {markdown} characters in all, at most {MARKDOWN}"


def _block(block: object) -> Iterator[str]:
    if not isinstance(block, dict):
        yield "not an object"
        return
    yield from _limit("block_id", block.get("block_id", ""), IDENTIFIER)
    match block.get("type"):
        case "divider":
            pass
        case "header":
            yield from _text("header", block.get("text"), HEADER, PLAIN)
        case "section":
            yield from _section(block)
        case "context":
            yield from _context(block)
        case "actions":
            yield from _actions(block)
        case "markdown":
            if not str(block.get("text", "")).strip():
                yield "markdown: blank"
        case unknown:
            yield f"type {unknown!r} is not known here"


def _section(block: Block) -> Iterator[str]:
    if "text" not in block and "fields" not in block:
        yield "section: neither text nor fields"
    if "text" in block:
        yield from _text("section", block["text"], SECTION)
    fields = block.get("fields", [])
    if len(fields) > FIELDS:
        yield f"section: {len(fields)} fields, at most {FIELDS}"
    for index, field in enumerate(fields):
        yield from _text(f"fields[{index}]", field, FIELD)


def _context(block: Block) -> Iterator[str]:
    elements = block.get("elements", [])
    if not 0 < len(elements) <= CONTEXT_ELEMENTS:
        yield f"context: {len(elements)} elements, 1 to {CONTEXT_ELEMENTS}"
    for index, element in enumerate(elements):
        if element.get("type") != "image":
            yield from _text(f"elements[{index}]", element, SECTION)


def _actions(block: Block) -> Iterator[str]:
    elements = block.get("elements", [])
    if not 0 < len(elements) <= ACTIONS:
        yield f"actions: {len(elements)} elements, 1 to {ACTIONS}"
    for index, element in enumerate(elements):
        place = f"elements[{index}]"
        yield from _limit(f"{place}.action_id", element.get("action_id", ""), IDENTIFIER)
        match element.get("type"):
            case "button":
                yield from _button(place, element)
            case "static_select":
                if "placeholder" in element:
                    yield from _text(f"{place}.placeholder", element["placeholder"], PLACEHOLDER, PLAIN)
                yield from _options(place, element, OPTIONS)
            case "overflow":
                yield from _options(place, element, OVERFLOW_OPTIONS)
            case unknown:
                yield f"{place}: type {unknown!r} is not known here"
        if "confirm" in element:
            yield from _confirm(f"{place}.confirm", element["confirm"])
    named = [element["action_id"] for element in elements if "action_id" in element]
    if len(set(named)) < len(named):
        yield "actions: an action_id is used twice"


def _button(place: str, element: Block) -> Iterator[str]:
    yield from _text(f"{place}.text", element.get("text"), BUTTON_TEXT, PLAIN)
    yield from _limit(f"{place}.value", element.get("value", ""), BUTTON_VALUE)
    yield from _limit(f"{place}.url", element.get("url", ""), BUTTON_URL)


def _options(place: str, element: Block, most: int) -> Iterator[str]:
    options = element.get("options", [])
    if not 0 < len(options) <= most:
        yield f"{place}: {len(options)} options, 1 to {most}"
    for index, option in enumerate(options):
        inner = f"{place}.options[{index}]"
        yield from _text(f"{inner}.text", option.get("text"), OPTION_TEXT, PLAIN)
        if not option.get("value"):
            yield f"{inner}.value: missing"
        yield from _limit(f"{inner}.value", option.get("value", ""), OPTION_VALUE)


def _confirm(place: str, confirm: Block) -> Iterator[str]:
    yield from _text(f"{place}.title", confirm.get("title"), CONFIRM_TITLE, PLAIN)
    yield from _text(f"{place}.text", confirm.get("text"), CONFIRM_TEXT, PLAIN)
    for button in ("confirm", "deny"):
        yield from _text(f"{place}.{button}", confirm.get(button), CONFIRM_BUTTON, PLAIN)


def _text(
    place: str, found: object, most: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")
) -> Iterator[str]:
    if not isinstance(found, dict) or found.get("type") not in kinds:
        yield f"{place}: not a text object of type {' or '.join(kinds)}"
        return
    text = found.get("text")
    if not isinstance(text, str) or not text.strip():
        yield f"{place}: blank"
    else:
        yield from _limit(place, text, most)


def _limit(place: str, text: str, most: int) -> Iterator[str]:
    if utf16_length(text) > most:
        yield f"{place}: {utf16_length(text)} characters, at most {most}"
