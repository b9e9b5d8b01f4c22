"""The controller's JSON as objects: lenient with every oddity, silent about none that hides a failure."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_notify.controller.wire import clean, decode_appliance, decode_feature, decode_job, integer
from cmc_notify.core.model import Appliance, Feature, Job, Outcome, Row, Status
from cmc_notify.errors import MalformedJob

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
TIMES = ("timestamp", "creation_time", "push_time", "completion_time")
LISTS = ("feature_ids", "site_ids", "site_type_ids", "appliance_serial_numbers", "detailed_status")
OPTIONAL = (*TIMES, *LISTS, "operation", "error_text", "backup")
ROW_KEYS = ("feature_id", "serialnum", "status", "result", "error_text")
ROW_VALUES = st.lists(st.dictionaries(st.sampled_from(ROW_KEYS), JSON) | JSON, max_size=3) | JSON
HOSTILE_JOBS = st.fixed_dictionaries(
    {},
    optional={
        key: ROW_VALUES if key == "detailed_status" else JSON
        for key in ("id", "idx", "job_status", *OPTIONAL)
    },
)


def job(**fields: Any) -> Job:
    """A job with the given wire fields, and an id unless one is given."""
    return decode_job(json.dumps({"id": 1, **fields}).encode())


def row(**fields: Any) -> Row:
    """The one detail row with the given wire fields."""
    return job(detailed_status=[fields]).rows[0]


def test_every_documented_property_is_read() -> None:
    """A job as the vendor's page documents it arrives with all its properties."""
    assert job(
        id=42,
        idx=43,
        timestamp=1795430000,
        operation="push",
        job_status="Failed",
        creation_time=1,
        push_time=2,
        completion_time=3,
        error_text="no route",
        backup=True,
        feature_ids=[1, 2],
        site_ids=[7],
        site_type_ids=[8],
        appliance_serial_numbers=["V2AB0001"],
        detailed_status=[
            {
                "feature_id": 1,
                "serialnum": "V2AB0001",
                "status": "Completed",
                "result": "Fail",
                "error_text": "x",
            }
        ],
    ) == Job(
        id=42,
        idx=43,
        timestamp=1795430000,
        operation="push",
        status="Failed",
        creation_time=1,
        push_time=2,
        completion_time=3,
        error_text="no route",
        backup=True,
        feature_ids=(1, 2),
        site_ids=(7,),
        site_type_ids=(8,),
        serials=("V2AB0001",),
        rows=(Row("V2AB0001", 1, Outcome.FAILED, "x"),),
    )


@pytest.mark.parametrize("key", OPTIONAL)
def test_null_reads_like_absent(key: str) -> None:
    """A property that is null gives the same job as one that is absent."""
    assert job(**{key: None}) == job() == Job(id=1, status="Unknown")


@pytest.mark.parametrize(
    ("spelled", "status"),
    [
        ("Queued", Status.QUEUED),
        ("QUEUED", Status.QUEUED),
        ("InProgress", Status.IN_PROGRESS),
        ("IN_PROGRESS", Status.IN_PROGRESS),
        ("in-progress", Status.IN_PROGRESS),
        (" Success\n", Status.SUCCESS),
        ("FAILED", Status.FAILED),
        ("canceled", Status.CANCELED),
        ("Cancelled", Status.CANCELED),
        ("CANCELLED", Status.CANCELED),
    ],
)
def test_a_status_is_read_in_every_spelling(spelled: str, status: Status) -> None:
    """Both spellings of the vendor's page, in any case, and the other Cancelled, are the same status."""
    assert job(job_status=spelled).status == status


@pytest.mark.parametrize(
    ("came", "kept"), [(" Paused ", "Paused"), (7, "7"), ("", "Unknown"), ([], "Unknown")]
)
def test_an_unknown_status_is_kept_as_it_came(came: object, kept: str) -> None:
    """A status outside the vendor's list keeps its own word and leaves the job open."""
    found = job(job_status=came)
    assert (found.status, found.finished) == (kept, False)


@pytest.mark.parametrize(
    ("status", "result", "outcome"),
    [
        ("Pending", None, Outcome.PENDING),
        ("RUNNING", None, Outcome.RUNNING),
        ("Completed", "Success", Outcome.SUCCEEDED),
        ("COMPLETED", "SUCCESS", Outcome.SUCCEEDED),
        ("Completed", "Fail", Outcome.FAILED),
        ("completed", "FAILED", Outcome.FAILED),
        ("Completed", "failure", Outcome.FAILED),
        ("Completed", None, Outcome.RUNNING),
        ("Completed", "perhaps", Outcome.RUNNING),
        (None, "Fail", Outcome.FAILED),
        (None, None, Outcome.PENDING),
        ("Resting", None, Outcome.PENDING),
        ([], {}, Outcome.PENDING),
    ],
)
def test_status_and_result_of_a_row_become_one_outcome(
    status: object, result: object, outcome: Outcome
) -> None:
    """A result decides wherever it is given; Completed without one is not over; the unknown is pending."""
    assert row(status=status, result=result).outcome is outcome


@pytest.mark.parametrize(
    ("came", "read"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        (" -7 ", -7),
        (True, None),
        (7.5, None),
        ("7.5", None),
        ("\u0667", None),
        ("", None),
        (2**63, None),
        (1e300, None),
        (float("inf"), None),
        (None, None),
        ([7], None),
    ],
)
def test_an_integer_is_read_where_it_is_unambiguous(came: object, read: int | None) -> None:
    """Integral floats and digits are integers; flags, fractions and what no database holds are not."""
    assert integer(came) == read


@pytest.mark.parametrize("came", [-1, 253402300800, True, "soon", 1.5])
def test_an_impossible_time_counts_as_unknown(came: object) -> None:
    """A time before 1970, after 9999 or of the wrong type is absent, and hurts nothing else."""
    found = job(creation_time=came, push_time=253402300799)
    assert (found.creation_time, found.push_time) == (None, 253402300799)


def test_idx_stands_in_for_a_missing_id() -> None:
    """A job without id is known by its idx."""
    assert decode_job(b'{"idx": 9}').id == 9


@pytest.mark.parametrize(
    ("raw", "said", "job_id"),
    [
        (b'{"job_status": "Queued"}', "neither id nor idx", None),
        (b"null", "null, not an object", None),
        (b"[1]", "a list, not an object", None),
        (b"", "not JSON", None),
        (b'{"id": 5, "x": }', "not JSON", 5),
        (b'{"id": 5, "a": "\\x"}', "not JSON", 5),
        (b'{"id": 5, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply", 5),
        (b'{"id": 5, "detailed_status": [{}, null]}', "detailed_status[1] is null, not an object", 5),
        (b'{"id": 5, "detailed_status": {}}', "detailed_status is an object, not a list", 5),
        (b'{"id": 5, "detailed_status": 3}', "detailed_status is a number, not a list", 5),
    ],
)
def test_what_could_hide_a_failure_makes_the_job_malformed(raw: bytes, said: str, job_id: int | None) -> None:
    """A job that can't be read says why, and keeps its id where one can be found."""
    with pytest.raises(MalformedJob) as caught:
        decode_job(raw)
    assert said in str(caught.value)
    assert caught.value.job_id == job_id


def test_an_error_text_arrives_complete() -> None:
    """Line breaks, markup, direction marks and blanks around the text stay; NUL becomes visible."""
    text = "  <!channel>\n{{ 7*7 }}\t</script>\u202e\x1b[31m\0end \U0001f4a5 "
    assert row(error_text=text).error_text == text.replace("\0", "\u2400")
    assert job(error_text=text).error_text == text.replace("\0", "\u2400")


def test_an_error_text_of_the_wrong_type_still_reaches_the_reader() -> None:
    """An object where a text was promised is shown as JSON; an empty text is none."""
    assert row(error_text={"code": 7}).error_text == '{"code": 7}'
    assert row(error_text=" \n").error_text is None


@pytest.mark.parametrize(
    "raw",
    [b'"a\\ud800b"', b'"a\\udc00b"', b'"a\xed\xa0\x80b"', b'"a\xffb"'],
)
def test_what_is_no_unicode_becomes_the_replacement_character(raw: bytes) -> None:
    """Half a surrogate pair, escaped or raw, and a byte that is no UTF-8 cost one character, not the job."""
    assert decode_job(b'{"id": 1, "error_text": ' + raw + b"}").error_text == "a\ufffdb"


def test_a_surrogate_pair_is_one_character() -> None:
    """A whole pair of escapes beside half a pair still gives its character."""
    raw = b'{"id": 1, "error_text": "\\ud83d\\udca5 \\ud83d"}'
    assert decode_job(raw).error_text == "\U0001f4a5 \ufffd"


def test_numbers_serve_as_serials_and_lone_values_as_lists() -> None:
    """A serial number written as a number, and a lone value where a list was promised, are understood."""
    assert row(serialnum=17).serial == "17"
    assert row(serialnum="  ").serial is None
    found = job(feature_ids=3, appliance_serial_numbers="A1", site_ids=[1, None, "x", "2"])
    assert (found.feature_ids, found.serials, found.site_ids) == ((3,), ("A1",), (1, 2))


def test_a_feature_is_named_by_the_best_name_it_has() -> None:
    """pretty_name is the label; a feature without any name is named by its id, one without id is none."""
    full = {"id": 3, "name": "qos", "pretty_name": "QoS", "description": "d", "push_enable": True}
    assert decode_feature(full) == Feature(3, "qos", "QoS", "d", push_enable=True)
    assert decode_feature({"id": 3, "name": "qos"}) == Feature(3, "qos", "qos")
    assert decode_feature({"id": 3}) == Feature(3, "feature 3", "feature 3")
    assert decode_feature({"name": "qos"}) is None
    assert decode_feature("qos") is None


def test_an_appliance_needs_its_serial() -> None:
    """The inventory gives names by serial; an entry without one names nothing."""
    assert decode_appliance({"serial": "A", "hostname": "paris\0", "health": 4}) == Appliance(
        "A", hostname="paris\u2400", health="4"
    )
    assert decode_appliance({"hostname": "paris"}) is None
    assert decode_appliance(None) is None


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
