"""A job's wire document: the vendor's property names, in this controller's spelling.

Documents are ASCII JSON, so that NUL and lone surrogates are sent as escapes, as by a real controller.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cmc_notify.simulator.quirks import Quirks, Spelling

UPPER = {
    "Queued": "QUEUED",
    "InProgress": "IN_PROGRESS",
    "Failed": "FAILED",
    "Success": "SUCCESS",
    "Canceled": "CANCELED",
    "Pending": "PENDING",
    "Running": "RUNNING",
    "Completed": "COMPLETED",
    "Fail": "FAIL",
}

ABSENT: Any = object()
"""An override that leaves the property out of the document."""


class Row(NamedTuple):
    """One ``detailed_status`` row: one feature on one appliance."""

    serial: str | None
    feature_id: int | None
    status: str = "Pending"
    result: str | None = None
    error_text: str | None = None


def spell(word: str, spelling: Spelling) -> str:
    """Return a status or result in the given spelling; a word outside the vendor's lists does not change."""
    return UPPER.get(word, word) if spelling == "upper" else word


def plain(word: str) -> str:
    """Return a status without case and underscores, for comparing."""
    return word.replace("_", "").casefold()


def row_document(row: Row, quirks: Quirks) -> dict[str, Any]:
    """Return one row in the form of the vendor's page; ``result`` only once the row is completed."""
    document: dict[str, Any] = {"status": spell(row.status, quirks.spelling)}
    if row.feature_id is not None:
        document["feature_id"] = row.feature_id
    if row.serial is not None:
        document["serialnum"] = row.serial
    _optional(document, quirks, "result", spell(row.result, quirks.spelling) if row.result else None)
    _optional(document, quirks, "error_text", row.error_text)
    return document


def job_document(
    fields: Mapping[str, Any], rows: Sequence[Row], quirks: Quirks, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a job in the form of the vendor's page, with ``overrides`` applied last."""
    document: dict[str, Any] = {
        "id": fields["id"],
        "idx": fields["idx"],
        "operation": fields["operation"],
        "timestamp": fields["timestamp"],
        "feature_ids": fields["feature_ids"],
        "job_status": spell(fields["status"], quirks.spelling),
        "backup": fields["backup"],
        "detailed_status": [row_document(row, quirks) for row in rows],
    }
    for name in ("creation_time", "push_time", "completion_time", "error_text"):
        _optional(document, quirks, name, fields[name])
    for name in ("site_ids", "appliance_serial_numbers", "site_type_ids"):
        if fields[name]:
            document[name] = fields[name]
    for name, value in overrides.items():
        if value is ABSENT:
            document.pop(name, None)
        else:
            document[name] = value
    return document


def encode(document: object) -> bytes:
    """Return ASCII JSON."""
    return json.dumps(document).encode("ascii")


def _optional(document: dict[str, Any], quirks: Quirks, name: str, value: object) -> None:
    if value is not None or quirks.missing == "null":
        document[name] = value
