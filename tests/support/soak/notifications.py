"""Whether what one receiver was told is what the controllers did: every run, once, with every text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support.soak.record import Run

Document = Mapping[str, Any]
Job = tuple[str, int]
Failure = tuple[str, str, int, int]
"""Controller, serial, feature id, and the id of the job that opened the incident."""

FINAL = {"Failed": "job.failed", "Success": "job.succeeded", "Canceled": "job.canceled"}
_SPINE = ("job.reopened", "job.queued", "job.started", "final")
"""In this order, each at most once in a run."""
_PAIRS = ("appliance.failed", "appliance.recovered")


def told_wrongly(documents: Sequence[Document], runs: Sequence[Run]) -> Iterator[str]:
    """What is missing, doubled or wrong in ``documents``, which are in the order of their acceptance.

    ``runs`` are all finished runs; a job that still runs may have told its beginning.
    """
    by_job: dict[Job, list[Document]] = {}
    for document in documents:
        if document["job"]:
            by_job.setdefault((document["controller"], document["job"]["id"]), []).append(document)
    ran: dict[Job, list[Run]] = {}
    for run in runs:
        ran.setdefault((run.controller, run.job), []).append(run)
    for job in dict.fromkeys((*ran, *by_job)):
        name = f"{job[0]} job {job[1]}"
        parts = _parts(by_job.get(job, []))
        for number, run in enumerate(ran.get(job, []), 1):
            told = parts[number - 1] if number <= len(parts) else []
            yield from (f"{name} run {number}: {problem}" for problem in _run(told, run))
        for told in parts[len(ran.get(job, [])) :]:
            if any(_place(document) == "final" for document in told):
                yield f"{name}: an end was told that never was: {[one['type'] for one in told]}"
    yield from _recoveries(documents, runs)


def _parts(documents: Sequence[Document]) -> list[list[Document]]:
    """What was told of a job, run by run."""
    parts: list[list[Document]] = [[]] if documents else []
    for document in documents:
        if document["type"] == "job.reopened":
            parts.append([])
        parts[-1].append(document)
    return parts


def _place(document: Document) -> str:
    return "final" if document["type"] in FINAL.values() else document["type"]


def _run(told: Sequence[Document], run: Run) -> Iterator[str]:
    places = [_place(document) for document in told]
    types = [document["type"] for document in told]
    ends = [kind for kind, place in zip(types, places, strict=True) if place == "final"]
    if not ends:
        yield f"lost: {FINAL[run.status]} was never told (only {types})"
        return
    for kind, times in Counter(types).items():
        if times > 1 and kind not in _PAIRS:
            yield f"doubled: {kind} was told {times} times"
    if set(ends) != {FINAL[run.status]}:
        yield f"wrong: told {ends}, expected {FINAL[run.status]}"
    if unknown := set(places) - {*_SPINE, *_PAIRS}:
        yield f"invented: {sorted(unknown)}"
    spine = [place for place in places if place in _SPINE]
    if spine != sorted(spine, key=_SPINE.index) or places[-1] != "final":
        yield f"order: told {types}"
    yield from _failures(told, run)


def _failures(told: Sequence[Document], run: Run) -> Iterator[str]:
    """Each failed pair is new once, in its exact words; a ``job.failed`` lists them all."""
    new = Counter(
        (item["serial"], item["feature_id"])
        for document in told
        for item in document["failures"]
        if item["new"]
    )
    for pair in dict.fromkeys((*run.failed, *new)):
        if new[pair] != (pair in run.failed):
            yield f"pair {pair} was told as new {new[pair]} times, expected {int(pair in run.failed)}"
    for document in told:
        for item in document["failures"]:
            pair = item["serial"], item["feature_id"]
            if item["error_text"] != run.failed.get(pair):
                yield f"{document['type']}: {pair} says {item['error_text']!r}, not {run.failed.get(pair)!r}"
        if document["type"] == "job.failed":
            listed = {(item["serial"], item["feature_id"]) for item in document["failures"]}
            if missing := run.failed.keys() - listed:
                yield f"job.failed lacks {sorted(missing)}"
            if document["job"]["error_text"] != run.error_text:
                yield f"job.failed says {document['job']['error_text']!r}, not {run.error_text!r}"


def _recoveries(documents: Sequence[Document], runs: Sequence[Run]) -> Iterator[str]:
    """Each incident's end is told once. A pair is in one running job at a time, so the order is known."""
    opened: dict[tuple[str, str, int], int] = {}
    due: Counter[Failure] = Counter()
    for run in runs:
        for serial, feature in run.failed:
            opened.setdefault((run.controller, serial, feature), run.job)
        for serial, feature in run.succeeded:
            place = (run.controller, serial, feature)
            if place in opened:
                due[*place, opened.pop(place)] += 1
    told: Counter[Failure] = Counter()
    for document in documents:
        for item in document["recoveries"]:
            told[document["controller"], item["serial"], item["feature_id"], item["failed_job_id"]] += 1
    for failure in dict.fromkeys((*due, *told)):
        if told[failure] != due[failure]:
            yield f"recovery of {failure}: told {told[failure]} times, expected {due[failure]}"
