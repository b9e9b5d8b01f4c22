"""Switches for everything that the vendor's page leaves open: any combination may exist."""

from dataclasses import dataclass
from typing import Literal

TimeField = Literal["creation", "push", "completion", "timestamp"]
Spelling = Literal["camel", "upper"]


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """The behaviour of one controller where the documentation leaves it open."""

    after_field: TimeField = "creation"
    """The time that ``after`` and ``before`` compare; a job without it matches neither."""
    inclusive: bool = True
    """True: a time equal to the bound matches."""
    filters_ignored: bool = False
    """Every list is the full list, whatever the filters."""
    spelling: Spelling = "camel"
    """``InProgress`` (type ``job_status``) or ``IN_PROGRESS`` (the note on ``push_time``), rows included."""
    strict_filter_spelling: bool = False
    """``job_status`` matches only in exactly the spelling above."""
    missing: Literal["absent", "null"] = "absent"
    """The form of an optional value that is missing."""
    rows_delay: float = 0.0
    """Virtual seconds by which detail rows come later than the job's status."""
    services_404: bool = False
    auth_info_404: bool = False
    inventory: Literal["ok", "404", "403"] = "ok"
