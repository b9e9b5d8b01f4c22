"""Every odd document that the vendor's page allows, and every text that breaks careless readers.

All jobs are in one list: the good ones must be read completely, whatever is next to them.
"""

from functools import partial

from cmc_notify.simulator.quirks import Quirks
from cmc_notify.simulator.stage import Stage
from cmc_notify.simulator.texts import HOSTILE, filler
from cmc_notify.simulator.wire import ABSENT, Row

DAY = 86_400
FEATURES_OF_MANY = 4


def hostile(stage: Stage, many: int = 0, big: int = 0) -> None:
    """Plan the odd jobs over five virtual minutes.

    ``many`` adds a job with so many failed rows of up to 500 characters (the bridge must handle 10,000),
    ``big`` one with so many failed rows of 20 KB (it must handle 50).
    """
    stage.catalog.grow(40)
    stage.catalog.add_feature(98, "<b>name</b>", '<!channel> {{ 7*7 }} "quoted" </script>', HOSTILE["rtl"])
    _texts(stage)
    _odd_documents(stage)
    _reused_ids(stage)
    _malformed(stage)
    _pairs_without_names(stage)
    stage.at(60, partial(_changing, stage))
    if many:
        stage.at(90, partial(_many, stage, many))
    if big:
        stage.at(120, partial(_big, stage, big))
    stage.at(300, lambda: None)


def _texts(stage: Stage) -> None:
    """Add a failed job with a row for each hostile text, and a pre-push failure with each."""
    appliances = stage.catalog.appliances
    rows = [
        Row(appliances[number].serial, 98, "Completed", "Fail", text)
        for number, text in enumerate(HOSTILE.values())
    ]  # fmt: skip
    created = int(stage.clock.start) - DAY
    stage.jobs.add(
        status="Failed", feature_ids=[98, 77], creation_time=created, push_time=created + 10,
        completion_time=created + 200, rows=rows,
    )  # fmt: skip
    for number, text in enumerate(HOSTILE.values()):
        if text:
            stage.at(10 + number, partial(_pre_push, stage, text))


def _pre_push(stage: Stage, text: str) -> None:
    job = stage.jobs.add(feature_ids=[98])
    job.finish("Failed", error_text=text)


def _odd_documents(stage: Stage) -> None:
    """Add good jobs with odd documents: sparse, null, mixed spelling, unknown words and fields."""
    start = int(stage.clock.start)
    bare = dict.fromkeys(
        ("idx", "operation", "timestamp", "creation_time", "backup", "detailed_status", "site_ids"), ABSENT
    )
    stage.jobs.add(status="Success", overrides=bare)
    nulls = dict.fromkeys(
        ("idx", "operation", "timestamp", "backup", "detailed_status", "site_ids", "push_time", "error_text")
    )
    stage.jobs.add(status="Canceled", completion_time=start - 50, overrides=nulls)
    upper = stage.jobs.add(
        status="Failed", push_time=start - 90, completion_time=start - 60, feature_ids=[3, 4],
        rows=[
            Row("V2AB00030", 3, "Completed", "Fail", "upper case"),
            Row("V2AB00031", 3, "Completed", "Success"),
        ],
    )  # fmt: skip
    upper.quirks = Quirks(spelling="upper", missing="null")
    upper.override(future_property={"nested": [1, None, "x"]}, job_status="FAILED")
    stage.jobs.add(status="Canceled", completion_time=start - 30, overrides={"job_status": "cancelled"})
    stage.jobs.add(status="Success", completion_time=start - 20, overrides={"id": ABSENT, "idx": 7001})
    stage.jobs.add(status="Queued", operation="restore\u202e<!here>", overrides={"unknown": "\ud800\x00"})


def _reused_ids(stage: Stage) -> None:
    """Add two jobs with one id, as after a restore from a backup: both are listed."""
    for days, serial in ((30, "V2AB00032"), (2, "V2AB00033")):
        created = int(stage.clock.start) - days * DAY
        stage.jobs.add(
            job_id=12, status="Failed", feature_ids=[5], creation_time=created, push_time=created + 5,
            completion_time=created + 50, rows=[Row(serial, 5, "Completed", "Fail", f"{days} days ago")],
        )  # fmt: skip


def _malformed(stage: Stage) -> None:
    """Add list items that are not jobs."""
    for item in (b"null", b"42", b'"job"', b"[1,2]", b"{}", b"true"):
        stage.jobs.add_raw(item)
    for overrides in (
        {"id": "abc", "idx": "def"},
        {"id": ABSENT, "idx": ABSENT},
        {"id": {"value": 1}, "idx": None},
        {"detailed_status": "none yet"},
        {"detailed_status": [["V2AB00001", 3]]},
        {"job_status": ["Failed"]},
        {"detailed_status": {"feature_id": 3}},
    ):
        stage.jobs.add(status="Failed", overrides=overrides)


def _pairs_without_names(stage: Stage) -> None:
    """Add failed rows without serial, feature or both."""
    created = int(stage.clock.start) - 500
    stage.jobs.add(
        status="Failed", feature_ids=[3], creation_time=created, push_time=created + 5,
        completion_time=created + 90,
        rows=[
            Row(None, 3, "Completed", "Fail", "no serial"),
            Row("V2AB00034", None, "Completed", "Fail", "no feature"),
            Row(None, None, "Completed", "Fail", "neither"),
            Row("V2AB00034", 3, "Completed", "Fail", None),
        ],
    )  # fmt: skip


def _changing(stage: Stage) -> None:
    """Add a job with a status outside the vendor's list, and one that is purged while open."""
    odd = stage.jobs.add(feature_ids=[2])
    now = stage.clock.now
    stage.clock.at(now + 20, lambda: odd.set(status="Archiving\u0007 <!channel>"))
    stage.clock.at(now + 40, odd.start)
    stage.clock.at(now + 60, lambda: odd.finish("Success"))
    gone = stage.jobs.add(feature_ids=[2])
    gone.start()
    stage.clock.at(now + 100, gone.purge)


def _many(stage: Stage, count: int) -> None:
    job = stage.jobs.add(feature_ids=list(range(1, FEATURES_OF_MANY + 1)))
    rows = [
        Row(f"V3CD{number // FEATURES_OF_MANY:06d}", number % FEATURES_OF_MANY + 1, "Completed", "Fail",
            filler(60 + number * 37 % 441, number))
        for number in range(count)
    ]  # fmt: skip
    with job.change():
        job.start()
        job.set_rows(rows)
        job.finish("Failed")


def _big(stage: Stage, count: int) -> None:
    job = stage.jobs.add(feature_ids=[6])
    with job.change():
        job.start()
        rows = (Row(f"V4EF{n:06d}", 6, "Completed", "Fail", filler(20_480, n)) for n in range(count))
        job.set_rows(rows)
        job.finish("Failed")
