"""Redaction of the controller's error texts: removes parts that an operator never wants stored or sent."""

import re
from collections.abc import Sequence

from msgspec.structs import replace

from cmc_notify.core.model import Job

REDACTED = "[redacted]"


def redact(job: Job, patterns: Sequence[re.Pattern[str]]) -> Job:
    """Return the job with every match in its error texts replaced by ``[redacted]``."""
    if not patterns:
        return job

    def clean(text: str | None) -> str | None:
        if text is not None:
            for pattern in patterns:
                text = pattern.sub(REDACTED, text)
        return text

    rows = tuple(replace(row, error_text=clean(row.error_text)) for row in job.rows)
    return replace(job, error_text=clean(job.error_text), rows=rows)
