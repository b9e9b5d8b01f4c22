"""Silences as people write them, by command or as JSON: read strictly, all problems reported at once."""

import secrets
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from math import isfinite

from cmc_notify.core.events import rfc3339
from cmc_notify.core.routing import any_glob
from cmc_notify.core.silences import Silence, find_problems
from cmc_notify.errors import ConfigError
from cmc_notify.settings.base import parse_duration
from cmc_notify.settings.suggestions import did_you_mean

MATCHERS = ("controller", "job", "serial", "feature")
"""Keys of a silence; each holds one pattern or a list of them (``job``: ids)."""
_OPTIONS = ("starts", "ends", "duration", "created_by", "comment")


def parse_silence(document: Mapping[str, object], *, controllers: Collection[str], now: float) -> Silence:
    """Return a new silence. It needs ``ends`` or ``duration``; by default it starts now.

    Times are RFC 3339, Unix seconds, or a duration from now such as ``2h``. ``controllers`` are the
    configured names. Raises ConfigError.
    """
    errors: list[str] = []
    for key in document:
        if key not in (*MATCHERS, *_OPTIONS):
            hint = (
                did_you_mean(key, (*MATCHERS, *_OPTIONS)) or f"there are {', '.join((*MATCHERS, *_OPTIONS))}"
            )
            errors.append(f"{key}: there is no such key; {hint}")
    starts = _time(document, "starts", now, errors) if "starts" in document else now
    silence = Silence(
        id=secrets.token_hex(6),
        controllers=_controllers(document, controllers, errors),
        jobs=_jobs(document, errors),
        serials=_texts(document, "serial", errors),
        features=_texts(document, "feature", errors),
        starts_at=starts,
        ends_at=_end(document, starts, now, errors),
        created_by=_text(document, "created_by", errors),
        comment=_text(document, "comment", errors),
        created_at=now,
    )
    if errors or (errors := find_problems(silence, now=now)):
        raise ConfigError(*errors)
    return silence


def silence_document(silence: Silence, now: float) -> dict[str, object]:
    """Return one silence as JSON; ``ends_in`` is in seconds."""
    return {
        "id": silence.id,
        "state": state_of(silence, now),
        "controller": silence.controllers,
        "job": silence.jobs,
        "serial": silence.serials,
        "feature": silence.features,
        "subject": silence.subject,
        "until_job": silence.until_job,
        "starts": rfc3339(silence.starts_at),
        "ends": rfc3339(silence.ends_at),
        "ends_in": max(0, round(silence.ends_at - now)),
        "created": rfc3339(silence.created_at),
        "created_by": silence.created_by,
        "comment": silence.comment,
    }


def state_of(silence: Silence, now: float) -> str:
    """Return ``pending``, ``active`` or ``expired``."""
    if silence.ends_at <= now:
        return "expired"
    return "active" if silence.starts_at <= now else "pending"


def matchers_text(silence: Silence) -> str:
    """Return the matchers as the command takes them: ``controller=emea serial=V2AB*``."""
    pairs = zip(MATCHERS, (silence.controllers, silence.jobs, silence.serials, silence.features), strict=True)
    words = [f"{name}={value}" for name, values in pairs for value in values]
    if silence.subject is not None and not silence.jobs:
        words.append(f"subject={silence.subject}")
    return " ".join([*words, "(until the job ends)"] if silence.until_job else words)


def _controllers(
    document: Mapping[str, object], controllers: Collection[str], errors: list[str]
) -> tuple[str, ...]:
    patterns = _texts(document, "controller", errors)
    for pattern in patterns:
        if not any(any_glob([pattern], name) for name in controllers):
            hint = did_you_mean(pattern, controllers) or f"there are {', '.join(sorted(controllers))}"
            errors.append(f"controller: none matches {pattern!r}; {hint}")
    return patterns


def _jobs(document: Mapping[str, object], errors: list[str]) -> tuple[int, ...]:
    found = []
    for value in _list(document.get("job", ())):
        text = str(value)
        if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004  fits 64 bits
            errors.append(f"job: {value!r} is not a job id; write a whole number, for example 42")
        else:
            found.append(int(text))
    return tuple(found)


def _texts(document: Mapping[str, object], key: str, errors: list[str]) -> tuple[str, ...]:
    values = _list(document.get(key, ()))
    if not all(isinstance(value, str) for value in values):
        errors.append(f"{key}: write a pattern or a list of them")
    return tuple(str(value) for value in values)


def _list(value: object) -> Collection[object]:
    return value if isinstance(value, list | tuple) else [value]


def _text(document: Mapping[str, object], key: str, errors: list[str]) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        errors.append(f"{key}: write a text")
    return str(value)


def _end(document: Mapping[str, object], starts: float, now: float, errors: list[str]) -> float:
    if ("ends" in document) == ("duration" in document):
        errors.append("write either duration (such as 4h) or ends (a time)")
        return starts
    if "ends" in document:
        return _time(document, "ends", now, errors)
    try:
        return starts + _seconds(parse_duration(document["duration"]))
    except ValueError:
        errors.append(
            f"duration: {document['duration']!r} is not a duration; write for example 30m, 4h or 2d"
        )
        return starts


def _time(document: Mapping[str, object], key: str, now: float, errors: list[str]) -> float:
    value = document[key]
    try:
        if not isinstance(value, str):
            return _seconds(value)
        if value.isascii() and value.isdecimal():
            return _seconds(float(value))
        if value[-1:] in "smhd":
            return now + _seconds(parse_duration(value))
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        errors.append(
            f"{key}: {value!r} is not a time; write 2026-11-23T09:00Z, Unix seconds, or 2h (from now)"
        )
        return now


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("not a number of seconds")
    return float(value)
