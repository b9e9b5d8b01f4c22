"""Payloads that Slack sends when somebody presses a button or types a command, read strictly. No I/O.

Guarantee: the result is a press, a command, or None for what is not our own; else UnreadablePayload is
raised. Ids have the form of ids; outside text can be stored and has a bounded length. Sources: Slack's pages
"block_actions payload" and "Implementing slash commands".
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

from msgspec import Struct

from cmc_notify.errors import CmcNotifyError
from cmc_notify.sinks.slack.buttons import ACKNOWLEDGE, CANCEL, SILENCE, SILENCE_FOR, subject_of

ActionName = Literal["cancel", "acknowledge", "silence"]
ACTIONS: Mapping[str, ActionName] = {CANCEL: "cancel", ACKNOWLEDGE: "acknowledge", SILENCE: "silence"}
"""By ``action_id``."""

MAX_NAME_LENGTH = 80
_MAX_TEXT_LENGTH = 500
_PERSON = re.compile(r"[UW][A-Z0-9]{2,30}")
_CHANNEL = re.compile(r"[CGD][A-Z0-9]{2,30}")
_TS = re.compile(r"[0-9]{1,16}\.[0-9]{1,10}")
_SUBJECT = re.compile(r"job:([a-z][a-z0-9_]*):([!-~]{1,200})")


class UnreadablePayload(CmcNotifyError, ValueError):
    """The payload came from Slack and is not valid. The message says why and repeats none of its text."""


class Person(Struct, frozen=True):
    """The person who did it: the id decides about rights, the name (outside text) is for people."""

    id: str
    name: str


class Press(Struct, frozen=True, kw_only=True):
    """A press on a button under a message, or the choice of an option in its menu."""

    id: str
    """The same each time that Slack sends this press."""
    person: Person
    action: ActionName
    option: str | None
    subject: str
    controller: str
    uid: str
    channel: str
    ts: str

    @property
    def reference(self) -> str:
        """The message as the store refers to it."""
        return f"{self.channel}:{self.ts}"


class Command(Struct, frozen=True, kw_only=True):
    """A slash command; ``words`` are the words after it, in lowercase."""

    person: Person
    words: tuple[str, ...]
    channel: str
    channel_name: str


def read_press(payload: object) -> Press | None:
    """Return the press; None if the button is not our own, such as a link. Raises UnreadablePayload."""
    document = _mapping(payload, "payload")
    if document.get("type") != "block_actions":
        return None
    actions = document.get("actions")
    if not isinstance(actions, list) or not actions:
        raise UnreadablePayload("actions: empty")
    pressed = _mapping(actions[0], "actions[0]")
    action = ACTIONS.get(_text(pressed, "action_id"))
    if action is None:
        return None
    container = document.get("container")
    place = container if isinstance(container, dict) else {}
    subject = subject_of(_text(pressed, "block_id"))
    found = _SUBJECT.fullmatch(subject)
    if not found:
        raise UnreadablePayload("block_id: names no job")
    channel = _matching(_CHANNEL, place.get("channel_id") or _inner(document, "channel", "id"), "channel")
    ts = _matching(_TS, place.get("message_ts") or _inner(document, "message", "ts"), "message_ts")
    user = _mapping(document.get("user"), "user")
    person = _person(user.get("id"), user.get("name") or user.get("username"))
    return Press(
        id=_digest(person.id, channel, ts, action, pressed.get("action_ts"), document.get("trigger_id")),
        person=person,
        action=action,
        option=_option(pressed) if action == "silence" else None,
        subject=subject,
        controller=found[1],
        uid=found[2],
        channel=channel,
        ts=ts,
    )


def read_command(payload: object) -> Command:
    """Return the command. Raises UnreadablePayload."""
    document = _mapping(payload, "command")
    return Command(
        person=_person(document.get("user_id"), document.get("user_name")),
        words=tuple(_clean(document.get("text") or "", _MAX_TEXT_LENGTH).lower().split()),
        channel=_matching(_CHANNEL, document.get("channel_id"), "channel_id"),
        channel_name=_clean(document.get("channel_name") or "", MAX_NAME_LENGTH),
    )


def read_form(body: bytes) -> dict[str, str]:
    """Return the fields of a body in ``application/x-www-form-urlencoded``. Raises UnreadablePayload."""
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise UnreadablePayload("the body is not a form") from error


def read_json(text: str | bytes) -> object:
    """Return the decoded JSON document. Raises UnreadablePayload."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadablePayload("not valid JSON") from error


def _option(pressed: Mapping[str, Any]) -> str:
    value = _inner(pressed, "selected_option", "value")
    if value not in SILENCE_FOR:
        raise UnreadablePayload(f"selected_option: not one of {', '.join(SILENCE_FOR)}")
    return str(value)


def _person(found: object, name: object) -> Person:
    person = _matching(_PERSON, found, "user")
    return Person(person, _clean(name or person, MAX_NAME_LENGTH) or person)


def _digest(*parts: object) -> str:
    """Return an id for the press; a repeat, or a copy that somebody sends again, has the same id."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def _mapping(found: object, place: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise UnreadablePayload(f"{place}: not an object")
    return found


def _inner(document: Mapping[str, Any], outer: str, inner: str) -> object:
    found = document.get(outer)
    return found.get(inner) if isinstance(found, dict) else None


def _text(document: Mapping[str, Any], key: str) -> str:
    found = document.get(key)
    if not isinstance(found, str) or len(found) > _MAX_TEXT_LENGTH:
        raise UnreadablePayload(f"{key}: not a text, or too long")
    return found


def _matching(form: re.Pattern[str], found: object, place: str) -> str:
    if not isinstance(found, str) or not form.fullmatch(found):
        raise UnreadablePayload(f"{place}: not an id")
    return found


def _clean(text: object, most: int) -> str:
    """Return the text without characters that can't be stored or encoded, at most ``most`` characters."""
    whole = str(text)[:most].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\u2400").strip()
