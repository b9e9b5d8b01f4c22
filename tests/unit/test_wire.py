"""The controller's JSON as objects: lenient with every oddity, silent about none that hides a failure."""

import pytest

from cmc_notify.controller.wire import decode_appliance, decode_feature, decode_job, integer
from cmc_notify.core.model import Appliance, Feature, Job, Outcome, Row, Status
from cmc_notify.errors import MalformedJob
from support.wire_documents import OPTIONAL, job, row


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
