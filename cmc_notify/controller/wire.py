"""Decode one raw item of the controller's JSON into a model object, as leniently as the vendor's page needs.

Guarantee: any bytes give a job or MalformedJob, never another error. A scalar that can't be read (a time
before 1970, a flag that is not a flag) counts as absent; a detail row that can't be read makes the job
malformed, because a failure may be in it. Strings arrive complete: only NUL becomes U+2400 and a lone
surrogate U+FFFD, which no database takes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from cmc_notify.core.model import Appliance, Feature, Job, Outcome, Row, Status
from cmc_notify.errors import MalformedJob

LAST_SECOND = 253402300799
"""The end of the year 9999 in Unix seconds: datetime can't hold more."""
_LARGEST = 2**63 - 1  # the largest integer of a database

_NOT_A_LETTER = re.compile(r"[^a-z]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_RAW_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_ID_IN_THE_RAW = re.compile(rb'"(?:id|idx)"\s*:\s*"?([0-9]{1,18})\b')

# The page itself spells the states in two ways (InProgress, IN_PROGRESS); letters alone distinguish them.
_STATUSES = {_NOT_A_LETTER.sub("", status.lower()): status.value for status in Status} | {
    "cancelled": Status.CANCELED.value
}
_RESULTS = {
    "fail": Outcome.FAILED,
    "failed": Outcome.FAILED,
    "failure": Outcome.FAILED,
    "success": Outcome.SUCCEEDED,
}
# Completed without a result is not final: on the page every completed row has one.
_ROW_STATUSES = {"pending": Outcome.PENDING, "running": Outcome.RUNNING, "completed": Outcome.RUNNING}


def decode_job(raw: bytes) -> Job:
    """Decode a ``job`` of the vendor's page. Raises MalformedJob, with the id if one is found."""
    try:
        return _job(parse(raw))
    except MalformedJob:
        raise
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else f"not JSON: {error}"
        found = _ID_IN_THE_RAW.search(raw)
        raise MalformedJob(f"it is {reason}", int(found[1]) if found else None) from None


def decode_feature(fields: Any) -> Feature | None:
    """Decode a ``feature`` of the vendor's page; None without an id, because then it names nothing."""
    if not isinstance(fields, dict):
        return None
    feature_id = integer(fields.get("id"))
    if feature_id is None:
        return None
    name = _word(fields.get("name")) or _word(fields.get("pretty_name")) or f"feature {feature_id}"
    return Feature(
        id=feature_id,
        name=name,
        label=_word(fields.get("pretty_name")) or name,
        description=_word(fields.get("description")),
        push_enable=_flag(fields.get("push_enable")),
    )


def decode_appliance(fields: Any) -> Appliance | None:
    """Decode a ``brief_appliance`` of the inventory; None without a serial number."""
    serial = _word(fields.get("serial")) if isinstance(fields, dict) else None
    if serial is None:
        return None
    return Appliance(
        serial=serial,
        hostname=_word(fields.get("hostname")),
        model=_word(fields.get("model")),
        address=_word(fields.get("address")),
        health=_word(fields.get("health")),
    )


def parse(raw: bytes | msgspec.Raw) -> Any:
    """Decode JSON into plain Python. Raises ValueError or RecursionError.

    Input that msgspec refuses (half a surrogate pair, bare control characters, bytes that are not UTF-8) is
    read by a slower, more lenient parser.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = _RAW_SURROGATE.sub(b"\xef\xbf\xbd", bytes(raw)).decode("utf-8", "replace")
        return json.loads(text, strict=False)


def integer(value: object) -> int | None:
    """Return an integer that a database can hold, also from ``7.0`` or ``"7"``; else None."""
    digits = isinstance(value, str) and _INTEGER.fullmatch(value.strip())
    if digits or (isinstance(value, float) and value.is_integer()):
        value = int(value)  # type: ignore[call-overload]  # text or float, as just tested
    if type(value) is int and -_LARGEST <= value <= _LARGEST:  # type, because True is an int, too
        return value
    return None


def clean(text: str) -> str:
    """Return the text with NUL as U+2400 and each lone surrogate as U+FFFD."""
    text = text.replace("\0", "\u2400")
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _job(fields: Any) -> Job:
    if not isinstance(fields, dict):
        raise MalformedJob(f"it is {_kind(fields)}, not an object")
    idx = integer(fields.get("idx"))
    job_id = integer(fields.get("id"))
    job_id = idx if job_id is None else job_id
    if job_id is None:
        raise MalformedJob("it has neither id nor idx")
    return Job(
        id=job_id,
        idx=idx,
        status=_job_status(fields.get("job_status")),
        timestamp=_time(fields.get("timestamp")),
        operation=_word(fields.get("operation")),
        creation_time=_time(fields.get("creation_time")),
        push_time=_time(fields.get("push_time")),
        completion_time=_time(fields.get("completion_time")),
        error_text=_error_text(fields.get("error_text")),
        backup=_flag(fields.get("backup")),
        feature_ids=_integers(fields.get("feature_ids")),
        site_ids=_integers(fields.get("site_ids")),
        site_type_ids=_integers(fields.get("site_type_ids")),
        serials=_serials(fields.get("appliance_serial_numbers")),
        rows=tuple(_rows(fields.get("detailed_status"), job_id)),
    )


def _rows(value: object, job_id: int) -> Iterator[Row]:
    if value is None:
        return
    if not isinstance(value, list):
        raise MalformedJob(f"detailed_status is {_kind(value)}, not a list", job_id)
    for index, fields in enumerate(value):
        if not isinstance(fields, dict):
            raise MalformedJob(f"detailed_status[{index}] is {_kind(fields)}, not an object", job_id)
        yield Row(
            serial=_word(fields.get("serialnum")),
            feature_id=integer(fields.get("feature_id")),
            outcome=_outcome(fields),
            error_text=_error_text(fields.get("error_text")),
        )


def _outcome(fields: Mapping[str, object]) -> Outcome:
    """Return the row's outcome. A result always counts: an early notification is better than none."""
    if (result := _RESULTS.get(_letters(fields.get("result")))) is not None:
        return result
    return _ROW_STATUSES.get(_letters(fields.get("status")), Outcome.PENDING)


def _job_status(value: object) -> str:
    return _STATUSES.get(_letters(value)) or _word(value) or "Unknown"


def _letters(value: object) -> str:
    return _NOT_A_LETTER.sub("", value.lower()) if isinstance(value, str) else ""


def _word(value: object) -> str | None:
    """Return a name or a number as text without the blanks around it; None if nothing is left."""
    if isinstance(value, str):
        return clean(value).strip() or None
    number = integer(value)
    return None if number is None else str(number)


def _error_text(value: object) -> str | None:
    """Return the text unchanged, also of another type: a reader needs even that."""
    if value is None:
        return None
    text = clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if text.strip() else None


def _time(value: object) -> int | None:
    number = integer(value)
    return number if number is not None and 0 <= number <= LAST_SECOND else None


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return bool(value) if value in (0, 1) else None


def _integers(value: object) -> tuple[int, ...]:
    return tuple(number for item in _items(value) if (number := integer(item)) is not None)


def _serials(value: object) -> tuple[str, ...]:
    return tuple(serial for item in _items(value) if (serial := _word(item)) is not None)


def _items(value: object) -> list[Any]:
    """Return a list; a lone value where a list was promised counts as a list of one."""
    return value if isinstance(value, list) else [value]


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a flag", type(None): "null"}
    return names.get(type(value), "a number")
