"""The failures of a mail as a table for spreadsheets."""

import csv
import io

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from cmc_notify.core.events import EventType, Failure
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.sinks.email.table import COLUMNS, failure_table

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", '=cmd|"/c calc"!A0')


def rows(*texts: str | None) -> list[list[str]]:
    """Return what a spreadsheet reads of a table of these errors, appliances and features."""
    failures = tuple(Failure(text, text, 3, text, text, new=False) for text in texts)
    made = failure_table(msgspec.structs.replace(sample(EventType.JOB_FAILED), failures=failures))
    assert made.startswith(b"\xef\xbb\xbf")
    read = [*csv.reader(io.StringIO(made.decode("utf-8-sig"), newline=""), strict=True)]
    assert tuple(read[0]) == COLUMNS
    return read[1:]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
@example([HOSTILE_TEXT, 'a","b', '"\r\n"', ""])
@example([*FORMULAS])
def test_every_text_is_whole_in_its_cell_and_no_formula(texts: list[str]) -> None:
    """A cell holds what the text shows, with an apostrophe before what would be computed."""
    for text, row in zip(texts, rows(*texts), strict=True):
        assert len(row) == len(COLUMNS)
        for cell in (row[0], row[1], row[3], row[4]):
            assert cell.removeprefix("'") == visible(text).removeprefix("'")
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_each_formula_is_disarmed() -> None:
    """None of the known beginnings is left at the front of a cell."""
    for text, row in zip(FORMULAS, rows(*FORMULAS), strict=True):
        assert row[4] == ("\u240d=1" if text == "\r=1" else f"'{text}")


def test_what_is_unknown_is_empty() -> None:
    """A failure without serial, feature or text is a row of its own."""
    event = msgspec.structs.replace(
        sample(EventType.JOB_FAILED), failures=(Failure(None, None, None, None, None, new=True),)
    )
    last = failure_table(event).decode("utf-8-sig").splitlines()[-1]
    assert last == '"","","","","","yes","emea","42"'


def test_a_lone_surrogate_does_not_keep_the_table_from_going() -> None:
    """No charset has it."""
    assert rows("a")[0][4] == "a"
    event = msgspec.structs.replace(
        sample(EventType.JOB_FAILED), failures=(Failure("V", None, 3, "QoS", "\ud800x", new=True),)
    )
    assert b'"?x"' in failure_table(event)
