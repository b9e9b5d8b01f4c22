"""A clean record of a soak, to be tampered with."""

from collections.abc import Callable
from typing import Any

from support.soak.judge import SoakResult, judge
from support.soak.record import (
    Arrival,
    Kill,
    Look,
    Notified,
    Record,
    Reply,
    Row,
    Run,
)

PAIR = ("V1", 3)
FAILED = Run("cmc", 7, "Failed", None, {PAIR: "no disk"}, frozenset({("V2", 3)}))
MENDED = Run("cmc", 7, "Success", None, {}, frozenset({PAIR, ("V2", 3)}))

Tamper = Callable[[Record], None]


def failure(*, new: bool = True, text: str = "no disk") -> dict[str, Any]:
    """The one failed pair as events show it."""
    return {"serial": PAIR[0], "feature_id": PAIR[1], "error_text": text, "new": new}


def story() -> list[dict[str, Any]]:
    """What is told of a job that failed, was run again, and succeeded."""
    recovery = {"serial": PAIR[0], "feature_id": PAIR[1], "failed_job_id": 7}
    parts: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = [
        ("job.queued", [], []),
        ("appliance.failed", [failure()], []),
        ("job.failed", [failure(new=False)], []),
        ("job.reopened", [], []),
        ("appliance.recovered", [], [recovery]),
        ("job.succeeded", [], []),
    ]
    return [
        {
            "id": f"e{number}",
            "type": kind,
            "controller": "cmc",
            "job": {"id": 7, "error_text": None},
            "failures": failures,
            "recoveries": recoveries,
        }
        for number, (kind, failures, recoveries) in enumerate(parts)
    ]


def arrival(
    document: dict[str, Any], began: float, *, sink: str = "chat", life: str = "r1.1", reply: Reply = "200"
) -> Arrival:
    """A request that was answered a tenth of a second after it came."""
    return Arrival(sink, f"{document['id']}-{sink}", life, began, document, reply, began + 0.1)


def clean() -> Record:
    """Each event once at each sink, one a second."""
    sinks = ("chat", "tickets")
    record = Record(sinks=sinks, replicas=3, runs=[FAILED, MENDED])
    record.arrivals = [
        arrival(document, float(second), sink=sink)
        for second, document in enumerate(story())
        for sink in sinks
    ]
    revisions = (1, 2, 3, 4, 5, 5)
    record.told = [
        Notified(one["id"], one["type"], "cmc", 7, revision)
        for one, revision in zip(story(), revisions, strict=True)
    ]
    record.rows = [Row(f"{one['id']}-{sink}", one["id"], sink, "sent") for one in story() for sink in sinks]
    return record


def of(record: Record, number: int, sink: str = "chat") -> Arrival:
    """The first arrival of an event of the story."""
    return next(a for a in record.arrivals if (a.sink, a.document["id"]) == (sink, f"e{number}"))


def judged(tamper: Tamper) -> SoakResult:
    """The result on the clean record after something was done to it."""
    record = clean()
    tamper(record)
    return judge(record)


def repeat_without_cause(record: Record) -> None:
    """What was accepted comes again, and nobody was killed."""
    record.arrivals.append(arrival(story()[0], 20.0, life="r2.1"))


def starve(record: Record) -> None:
    """Nobody polled a controller for long after its poller's death."""
    record.looks = [Look(1.0, "r1.1", "cmc", good=True), Look(12.0, "r2.1", "cmc", good=True)]
    record.kills.append(Kill(1.5, "r1.1", frozenset()))
