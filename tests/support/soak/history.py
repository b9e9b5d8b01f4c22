"""The runs of every job, read from the simulated controller's own history of versions.

Nothing of the bridge is in it. A run ends with the last finished version before the job is queued or runs
again; within a run rows only fill up, so that version holds all that the run did.
"""

from collections.abc import Iterable
from typing import Any

from cmc_notify.simulator import Version
from support.soak.record import Run

FINISHED = frozenset({"Failed", "Success", "Canceled"})


def runs(controller: str, history: Iterable[Version]) -> list[Run]:
    """Every finished run, in the order of their ends."""
    ends: list[tuple[int, Run]] = []
    open_end: dict[str, int] = {}
    for place, version in enumerate(history):
        document = version.document
        if document["job_status"] not in FINISHED:
            open_end.pop(version.key, None)
            continue
        run = (place, _read(controller, document))
        if version.key in open_end:
            ends[open_end[version.key]] = run
        else:
            open_end[version.key] = len(ends)
            ends.append(run)
    return [run for _, run in sorted(ends, key=lambda end: end[0])]


def _read(controller: str, document: dict[str, Any]) -> Run:
    rows = document["detailed_status"]
    by_result = {
        result: {
            (row["serialnum"], row["feature_id"]): row.get("error_text", "")
            for row in rows
            if row.get("result") == result
        }
        for result in ("Fail", "Success")
    }
    return Run(
        controller=controller,
        job=document["id"],
        status=document["job_status"],
        error_text=document.get("error_text"),
        failed=by_result["Fail"],
        succeeded=frozenset(by_result["Success"]),
    )
