"""Slack's documented limits: decides which posted messages a Slack-like server refuses.

Shares no code with the sink's own check, because it tests that one. Characters are counted as in Python.
"""

import json
from typing import Any

_TEXT_OBJECTS = {"plain_text", "mrkdwn"}
_PLAIN = {"plain_text"}


def refusal(message: dict[str, Any]) -> str | None:
    """Return Slack's error code for ``message`` (text, blocks, metadata), or None if it is accepted."""
    text = message.get("text") or ""
    blocks = message.get("blocks") or []
    if not text.strip() and not blocks and not message.get("attachments"):
        return "no_text"
    if len(text) > 40_000:  # noqa: PLR2004  where Slack truncates
        return "msg_too_long"
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        return "invalid_blocks_format"
    ids = [block["block_id"] for block in blocks if block.get("block_id")]
    if len(blocks) > 50 or len(ids) != len(set(ids)) or not all(map(_good_block, blocks)):  # noqa: PLR2004  documented
        return "invalid_blocks"
    if sum(len(json.dumps(block, ensure_ascii=False)) for block in blocks) > 13_000:  # noqa: PLR2004  as reported
        return "msg_blocks_too_long"
    return _bad_metadata(message.get("metadata"))


def _bad_metadata(metadata: object) -> str | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_type"), str):
        return "invalid_metadata_format"
    payload = metadata.get("event_payload")
    if not isinstance(payload, dict):
        return "invalid_metadata_format"
    return "metadata_too_large" if len(json.dumps(payload)) > 8_000 else None  # noqa: PLR2004  Slack names no number


def _good_block(block: dict[str, Any]) -> bool:
    if len(block.get("block_id", "")) > 255:  # noqa: PLR2004  documented
        return False
    kind = block.get("type")
    if kind == "header":
        return _good_text(block.get("text"), 150, _PLAIN)
    if kind == "section":
        fields = block.get("fields", [])
        has_text = "text" in block
        return (
            (has_text or bool(fields))
            and (not has_text or _good_text(block["text"], 3000))
            and len(fields) <= 10  # noqa: PLR2004  documented
            and all(_good_text(field, 2000) for field in fields)
        )
    if kind == "context":
        elements = block.get("elements", [])
        return 1 <= len(elements) <= 10 and all(_good_text(element, 3000) for element in elements)  # noqa: PLR2004  documented
    if kind == "actions":
        elements = block.get("elements", [])
        return 1 <= len(elements) <= 25 and _good_elements(elements)  # noqa: PLR2004  documented
    return kind == "divider"


def _good_elements(elements: list[dict[str, Any]]) -> bool:
    ids = [element.get("action_id") for element in elements if element.get("action_id")]
    return len(ids) == len(set(ids)) and all(map(_good_element, elements))


def _good_element(element: dict[str, Any]) -> bool:
    known = {"button": _good_button, "static_select": _good_select, "overflow": _good_overflow}
    good = known.get(str(element.get("type")))
    return (
        good is not None
        and good(element)
        and len(element.get("action_id", "")) <= 255  # noqa: PLR2004  documented
        and ("confirm" not in element or _good_confirm(element["confirm"]))
    )


def _good_button(element: dict[str, Any]) -> bool:
    return (
        _good_text(element.get("text"), 75, _PLAIN)
        and len(element.get("value", "")) <= 2000  # noqa: PLR2004  documented
        and len(element.get("url", "")) <= 3000  # noqa: PLR2004  documented
        and element.get("style", "danger") in {"primary", "danger"}
    )


def _good_select(element: dict[str, Any]) -> bool:
    placeholder = element.get("placeholder")
    return (placeholder is None or _good_text(placeholder, 150, _PLAIN)) and _good_options(element, 100)


def _good_overflow(element: dict[str, Any]) -> bool:
    return _good_options(element, 5)


def _good_options(element: dict[str, Any], most: int) -> bool:
    options = element.get("options") or []
    return 1 <= len(options) <= most and all(
        _good_text(option.get("text"), 75, _PLAIN) and 0 < len(option.get("value", "")) <= 150  # noqa: PLR2004  documented
        for option in options
    )


def _good_confirm(confirm: dict[str, Any]) -> bool:
    lengths = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
    return all(_good_text(confirm.get(name), most, _PLAIN) for name, most in lengths.items())


def _good_text(found: object, most: int, kinds: set[str] = _TEXT_OBJECTS) -> bool:
    if not isinstance(found, dict) or found.get("type") not in kinds:
        return False
    text = found.get("text")
    return isinstance(text, str) and bool(text.strip()) and len(text) <= most
