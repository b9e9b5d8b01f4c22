"""The failures of an event as a table for a spreadsheet, each row whole.

Guarantee: RFC 4180 in UTF-8 with a byte order mark (without it Excel reads Latin-1); no text becomes a
formula (https://owasp.org/www-community/attacks/CSV_Injection), and hidden characters are visible. Excel
itself cuts a cell off after 32,767 characters; the file does not.
"""

import codecs
import csv
import io
from collections.abc import Iterator

from cmc_notify.core.events import Event
from cmc_notify.core.text import visible

SCREENFUL = 20
"""Failures that a reader can survey; a table is for more."""
COLUMNS = ("serial", "appliance", "feature_id", "feature", "error_text", "new", "controller", "job")
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are full-width: some spreadsheets treat them like the others."""


def failure_table(event: Event) -> bytes:
    """Return a header and one row for each failure of the event, in order."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(event))
    return codecs.BOM_UTF8 + buffer.getvalue().encode("utf-8", "replace")


def _rows(event: Event) -> Iterator[tuple[str, ...]]:
    job = str(event.job.id) if event.job else ""
    for failure in event.failures:
        yield (
            _cell(failure.serial),
            _cell(failure.appliance),
            "" if failure.feature_id is None else str(failure.feature_id),
            _cell(failure.feature),
            _cell(failure.error_text),
            "yes" if failure.new else "no",
            _cell(event.controller),
            job,
        )


def _cell(text: str | None) -> str:
    """Return the cell's text; an apostrophe in front keeps a spreadsheet from reading it as a formula."""
    shown = visible(text or "")
    return f"'{shown}" if shown.startswith(_BEGINS_FORMULA) else shown
