"""How what was received differs from what was expected."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from support.oracle.job_life import PAIRS, RECOVERY, SPINE, Expected, JobKey
from support.oracle.observations import Pair


def compare(expected: Sequence[Expected], received: Iterable[Mapping[str, Any]]) -> list[str]:
    """How the received event documents differ from what was expected, one line each; empty if they agree.

    ``received`` are in the order of their arrival, repeats of one delivery (same ``webhook-id``) left out.
    """
    keys = list(dict.fromkeys(event.job for event in expected))
    documents: dict[JobKey, list[Mapping[str, Any]]] = {}
    for document in received:
        if document["type"] in SPINE | {PAIRS, RECOVERY}:
            documents.setdefault(_named(document, keys), []).append(document)
    differences: list[str] = []
    for key in dict.fromkeys([*keys, *documents]):
        mine = [event for event in expected if event.job == key]
        differences += [
            f"job {key[0]}, created {key[1]}: {line}" for line in _job(mine, documents.get(key, []))
        ]
    recoveries = (
        (item["serial"], item["feature_id"], item["failed_job_id"])
        for told in documents.values()
        for document in told
        for item in document["recoveries"]
    )
    wanted = [(event, recovery) for event in expected for recovery in event.recovered]
    return differences + [f"recovery {line}" for line in _counted(wanted, Counter(recoveries))]


def _job(mine: Sequence[Expected], told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Differences in what was told of one job, recoveries apart."""
    spine = [event for event in mine if event.type in SPINE]
    types = [document["type"] for document in told if document["type"] in SPINE]
    wrong = list(_counted([(event, event.type) for event in spine], Counter(types)))
    yield from wrong
    certain = not any(event.optional for event in mine)
    if certain and not wrong and types != [event.type for event in spine]:
        yield f"told in the order {types}, expected {[event.type for event in spine]}"
    wanted = [(event, pair) for event in mine for pair in event.new]
    new = Counter(_pair(item) for document in told for item in document["failures"] if item["new"])
    yield from (f"new pair {line}" for line in _counted(wanted, new))
    for document in told:
        if document["type"] == PAIRS and not document["failures"]:
            yield "an empty appliance.failed"
        if document["type"] == PAIRS and not all(item["new"] for item in document["failures"]):
            yield "an appliance.failed with pairs that are not new"
    if certain and not wrong:
        finals = [document for document in told if document["type"] == "job.failed"]
        for event, document in zip((e for e in spine if e.type == "job.failed"), finals, strict=True):
            yield from _failed(event, document)


def _failed(event: Expected, document: Mapping[str, Any]) -> Iterator[str]:
    """Differences within one job.failed."""
    if event.failed is None:
        return
    listed = {_pair(item) for item in document["failures"]}
    new = {_pair(item) for item in document["failures"] if item["new"]}
    if event.settled and document["job"]["details_pending"]:
        if extra := listed - event.failed:
            yield f"job.failed lists {_names(extra)}, which did not fail"
        return
    if listed != event.failed:
        missing, extra = event.failed - listed, listed - event.failed
        yield f"job.failed lacks {_names(missing)} and has {_names(extra)} too many"
    if not event.settled and new != event.new:
        yield f"job.failed marks {_names(new)} as new, expected {_names(event.new)}"


def _counted(wanted: Iterable[tuple[Expected, Any]], got: Counter[Any]) -> Iterator[str]:
    """Each fact that was told too rarely or too often."""
    due: Counter[Any] = Counter()
    allowed: Counter[Any] = Counter()
    for event, fact in wanted:
        allowed[fact] += 1
        due[fact] += not event.optional
    for fact in dict.fromkeys((*allowed, *got)):
        if got[fact] < due[fact]:
            yield f"{fact} missing: told {got[fact]} times, expected {due[fact]}"
        elif got[fact] > allowed[fact]:
            word = "doubled" if allowed[fact] else "invented"
            yield f"{fact} {word}: told {got[fact]} times, expected {allowed[fact]}"


def _named(document: Mapping[str, Any], keys: Sequence[JobKey]) -> JobKey:
    """The expected job that a document is about; its own name where none fits."""
    job = document["job"]
    created = job["created"] and int(datetime.fromisoformat(job["created"]).timestamp())
    own = (int(job["id"]), created)
    near = [key for key in keys if key[0] == own[0] and (None in (key[1], created))]
    return own if own in keys or not near else near[0]


def _pair(item: Mapping[str, Any]) -> Pair:
    return item["serial"], item["feature_id"]


def _names(pairs: Iterable[Pair]) -> str:
    return ", ".join(sorted(f"{serial}/{feature}" for serial, feature in pairs)) or "nothing"
