"""Redaction removes every match from every error text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.core.model import Job, Outcome, Row
from cmc_notify.core.redaction import redact

SECRET = re.compile(r"community \S+")


def job(text: str | None, *row_texts: str | None) -> Job:
    """A failed job with these texts."""
    rows = tuple(Row(f"V{n}", 3, Outcome.FAILED, each) for n, each in enumerate(row_texts))
    return Job(id=1, status="Failed", error_text=text, rows=rows)


def test_each_match_in_each_text_is_replaced() -> None:
    """The job's own text and every row's, each occurrence."""
    clean = redact(job("community s3cret, community other", "at community s3cret!", None), [SECRET])
    assert clean.error_text == "[redacted] [redacted]"
    assert [row.error_text for row in clean.rows] == ["at [redacted]", None]


def test_patterns_work_one_after_the_other() -> None:
    """Several patterns all count."""
    clean = redact(job("a1 b2"), [re.compile("a."), re.compile("b.")])
    assert clean.error_text == "[redacted] [redacted]"


def test_without_patterns_nothing_changes() -> None:
    """The same job comes back."""
    same = job("community s3cret")
    assert redact(same, []) is same


@given(st.lists(st.one_of(st.none(), st.text("xy community\n", max_size=30))))
def test_no_match_survives_and_nothing_else_changes(texts: list[str | None]) -> None:
    """Whatever the texts: no match is left, a missing text stays missing, outcomes stay."""
    before = job(None, *texts)
    after = redact(before, [SECRET])
    for old, new in zip(before.rows, after.rows, strict=True):
        assert (new.serial, new.feature_id, new.outcome) == (old.serial, old.feature_id, old.outcome)
        assert (new.error_text is None) == (old.error_text is None)
        assert not SECRET.search(new.error_text or "")
        if not SECRET.search(old.error_text or ""):
            assert new.error_text == old.error_text
