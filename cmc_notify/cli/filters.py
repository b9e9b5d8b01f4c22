"""Parsers for the filters of ``jobs list``: from what people write to what the controller gets."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cmc_notify.cli.common import known_name
from cmc_notify.core.model import Feature, Status
from cmc_notify.errors import ConfigError
from cmc_notify.settings.base import parse_duration
from cmc_notify.settings.suggestions import did_you_mean

TimeOf = Callable[[float], int]
"""Returns a time in Unix seconds for the present time on the controller."""

_NOT_A_LETTER = re.compile("[^a-z]")
_AGO = re.compile(r"[0-9.]+\s*(ms|[smhd])")


def parse_status(written: str | None) -> str | None:
    """Return the status to request. The vendor's page spells states in two ways: text in capitals is sent
    as written, any other spelling as in the page's list. Raises ConfigError if it is not a status.
    """
    if written is None:
        return None
    known = {_letters(status): status.value for status in Status} | {"cancelled": Status.CANCELED.value}
    found = known.get(_letters(written))
    if found is None:
        hint = did_you_mean(written, Status)
        raise ConfigError(
            f"--status: there is no job status {written!r}; {f'{hint} ' if hint else ''}"
            f"write one of {', '.join(Status)}"
        )
    return written if written.isupper() else found


def _letters(text: str) -> str:
    return _NOT_A_LETTER.sub("", text.lower())


def parse_time(option: str, written: str | None) -> TimeOf | None:
    """Parse Unix seconds, a time, or a duration before now. Raises ConfigError for anything else."""
    if written is None:
        return None
    try:
        if written.lstrip("-").isdecimal():
            fixed = int(written)
        elif _AGO.fullmatch(written.strip()):
            before = int(float(str(parse_duration(written))))
            return lambda now: int(now) - before
        else:
            time = datetime.fromisoformat(written)
            fixed = int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{option}: {written!r} is not a time; write Unix seconds, 2026-11-23T09:00Z, "
            "or how long ago: 30m, 2h, 1d"
        ) from None
    return lambda _now: fixed


def find_feature_id(written: str | None, features: Sequence[Feature]) -> int | None:
    """Return the id of a feature given by id, label or name. Raises ConfigError with a suggestion."""
    if written is None or written.isdecimal():
        return None if written is None else int(written)
    by_name = {name: each.id for each in features for name in (each.label, each.name)}
    return by_name[known_name(written, by_name, "feature")]
