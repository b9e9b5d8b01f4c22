"""Test any JSON, any bytes, and any job on the wire."""

import json

from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.controller.wire import clean, decode_job
from cmc_notify.core.model import Job, Outcome, Row, Status
from cmc_notify.errors import MalformedJob
from support.wire_documents import OPTIONAL

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
ROW_KEYS = ("feature_id", "serialnum", "status", "result", "error_text")
ROW_VALUES = st.lists(st.dictionaries(st.sampled_from(ROW_KEYS), JSON) | JSON, max_size=3) | JSON
HOSTILE_JOBS = st.fixed_dictionaries(
    {},
    optional={
        key: ROW_VALUES if key == "detailed_status" else JSON
        for key in ("id", "idx", "job_status", *OPTIONAL)
    },
)


@given(HOSTILE_JOBS | JSON)
def test_any_json_gives_a_job_or_malformed_job(document: object) -> None:
    """Whatever stands in the fields: a job that a database takes, or MalformedJob."""
    try:
        found = decode_job(json.dumps(document).encode())
    except MalformedJob:
        return
    assert_storable(found)


@given(
    st.binary(max_size=60)
    | st.binary(max_size=40).map(lambda inside: b'{"id":1,"error_text":"' + inside + b'"}')
)
def test_any_bytes_give_a_job_or_malformed_job(raw: bytes) -> None:
    """Bytes that are no JSON, or hardly, never raise anything but MalformedJob."""
    try:
        found = decode_job(raw)
    except MalformedJob:
        return
    assert_storable(found)


def assert_storable(found: Job) -> None:
    """Every text can be encoded and holds no NUL; every number fits in 64 bits."""
    texts = [found.status, found.operation, found.error_text, *found.serials]
    texts += [text for row in found.rows for text in (row.serial, row.error_text)]
    for text in filter(None, texts):
        assert "\0" not in text
        text.encode()
    numbers = [
        found.id,
        found.idx,
        *found.feature_ids,
        *found.site_ids,
        *(row.feature_id for row in found.rows),
    ]
    assert all(abs(number) < 2**63 for number in numbers if number is not None)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
WORD = TEXT.map(str.strip).filter(bool)
NUMBER = st.integers(-(2**63) + 1, 2**63 - 1)
TIME = st.none() | st.integers(0, 253402300799)
RESULTS = {
    Outcome.PENDING: {"status": "Pending"},
    Outcome.RUNNING: {"status": "Running"},
    Outcome.SUCCEEDED: {"status": "Completed", "result": "Success"},
    Outcome.FAILED: {"status": "Completed", "result": "Fail"},
}
ROWS = st.builds(
    Row,
    st.none() | WORD,
    st.none() | NUMBER,
    st.sampled_from(Outcome),
    st.none() | TEXT.filter(lambda text: text.strip() != ""),
)
JOBS = st.builds(
    Job,
    id=NUMBER,
    status=st.sampled_from([status.value for status in Status]),
    idx=st.none() | NUMBER,
    timestamp=TIME,
    operation=st.none() | WORD,
    creation_time=TIME,
    push_time=TIME,
    completion_time=TIME,
    error_text=st.none() | TEXT.filter(lambda text: text.strip() != ""),
    backup=st.none() | st.booleans(),
    feature_ids=st.lists(NUMBER, max_size=3).map(tuple),
    site_ids=st.lists(NUMBER, max_size=3).map(tuple),
    site_type_ids=st.lists(NUMBER, max_size=3).map(tuple),
    serials=st.lists(WORD, max_size=3).map(tuple),
    rows=st.lists(ROWS, max_size=4).map(tuple),
)


@given(JOBS, st.booleans(), st.booleans())
def test_a_job_survives_the_wire(sent: Job, ascii_only: bool, leave_out_nulls: bool) -> None:
    """A job written as the vendor's page says is read back the same, nulls written or left out."""
    rows: list[dict[str, object]] = [
        {"serialnum": row.serial, "feature_id": row.feature_id, "error_text": row.error_text}
        | dict[str, object](RESULTS[row.outcome])
        for row in sent.rows
    ]
    names = {"status": "job_status", "serials": "appliance_serial_numbers"}
    document = {
        names.get(field, field): getattr(sent, field) for field in sent.__struct_fields__ if field != "rows"
    }
    document["detailed_status"] = rows
    if leave_out_nulls:
        document = {key: value for key, value in document.items() if value is not None}
    assert decode_job(json.dumps(document, ensure_ascii=ascii_only).encode()) == sent


@given(st.text(st.characters()))
def test_clean_changes_only_what_databases_refuse(text: str) -> None:
    """clean() keeps the length and every character but NUL and lone surrogates."""
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    for before, after in zip(text, cleaned, strict=True):
        if before == "\0":
            assert after == "\u2400"
        elif "\ud800" <= before <= "\udfff":
            assert after == "\ufffd"
        else:
            assert after == before
