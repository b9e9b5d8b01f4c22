"""What the vendor's page leaves open, as switches: every combination is a controller that may exist."""

from dataclasses import dataclass
from typing import Literal

TimeField = Literal["creation", "push", "completion", "timestamp"]
Spelling = Literal["camel", "upper"]


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """How this controller reads its own documentation."""

    after_field: TimeField = "creation"
    """The time that ``after`` and ``before`` compare with; a job that lacks it matches neither."""
    inclusive: bool = True
    """Whether a time equal to the bound matches."""
    filters_ignored: bool = False
    """Every list is the full list, whatever was asked."""
    spelling: Spelling = "camel"
    """``InProgress`` (type ``job_status``) or ``IN_PROGRESS`` (the note on ``push_time``), rows included."""
    strict_filter_spelling: bool = False
    """``job_status`` matches only in the spelling above, to the letter."""
    missing: Literal["absent", "null"] = "absent"
    """How an optional value that is not there looks."""
    rows_delay: float = 0.0
    """Virtual seconds by which detail rows lag behind the job's status."""
    services_404: bool = False
    auth_info_404: bool = False
    inventory: Literal["ok", "404", "403"] = "ok"
