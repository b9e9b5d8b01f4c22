"""The event document (version 1): the context of templates, and the body that webhooks post.

``cmc-notify schema event`` prints the JSON Schema of :class:`Event`. Times in it are RFC 3339, UTC.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.model import Job, Names, Outcome, Status

Severity = Literal["info", "warning", "error"]


class EventType(StrEnum):
    """The types of events."""

    JOB_QUEUED = "job.queued"
    JOB_STARTED = "job.started"
    JOB_PROGRESS = "job.progress"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_CANCELED = "job.canceled"
    JOB_FAILED = "job.failed"
    JOB_REOPENED = "job.reopened"
    JOB_OVERDUE = "job.overdue"
    JOB_VANISHED = "job.vanished"
    APPLIANCE_FAILED = "appliance.failed"
    APPLIANCE_RECOVERED = "appliance.recovered"
    CONTROLLER_UNREACHABLE = "controller.unreachable"
    CONTROLLER_RECOVERED = "controller.recovered"
    CONTROLLER_UNAUTHORIZED = "controller.unauthorized"
    SINK_FAILING = "sink.failing"
    SINK_RECOVERED = "sink.recovered"


SEVERITY: dict[EventType, Severity] = {
    EventType.JOB_QUEUED: "info",
    EventType.JOB_STARTED: "info",
    EventType.JOB_PROGRESS: "info",
    EventType.JOB_SUCCEEDED: "info",
    EventType.JOB_CANCELED: "warning",
    EventType.JOB_FAILED: "error",
    EventType.JOB_REOPENED: "warning",
    EventType.JOB_OVERDUE: "warning",
    EventType.JOB_VANISHED: "warning",
    EventType.APPLIANCE_FAILED: "error",
    EventType.APPLIANCE_RECOVERED: "info",
    EventType.CONTROLLER_UNREACHABLE: "error",
    EventType.CONTROLLER_RECOVERED: "info",
    EventType.CONTROLLER_UNAUTHORIZED: "error",
    EventType.SINK_FAILING: "error",
    EventType.SINK_RECOVERED: "info",
}


class FeatureRef(Struct, frozen=True):
    """A feature that the job pushes; name and label are made from the id if the controller has none."""

    id: int
    name: str
    label: str


class Targets(Struct, frozen=True):
    """The targets of a job: one of the three is not empty."""

    site_ids: tuple[int, ...] = ()
    site_type_ids: tuple[int, ...] = ()
    serials: tuple[str, ...] = ()


class ApplianceCounts(Struct, frozen=True):
    """Appliances among the job's rows."""

    total: int
    failed: int


class Counts(Struct, frozen=True):
    """Detail rows (serial x feature) by outcome."""

    total: int
    pending: int
    running: int
    succeeded: int
    failed: int
    appliances: ApplianceCounts


class JobInfo(Struct, frozen=True, kw_only=True):
    """The job of an event, as it was at the time of the event."""

    id: int
    idx: int | None
    timestamp: int | None
    operation: str | None
    status: str
    previous_status: str | None
    created: str | None
    pushed: str | None
    completed: str | None
    backup: bool | None
    error_text: str | None
    """Set if the push failed before it reached any appliance (pre-push)."""
    features: tuple[FeatureRef, ...]
    targets: Targets
    counts: Counts
    details_pending: bool = False
    """True in a final event from before the controller had every row's result."""
    running_for: int | None = None
    """Seconds in progress so far, by the controller's own clock; null in other states, and if not known."""
    url: str | None = None


class Failure(Struct, frozen=True):
    """One feature that failed on one appliance, with the controller's whole error text."""

    serial: str | None
    appliance: str | None
    feature_id: int | None
    feature: str | None
    error_text: str | None
    new: bool
    """True if this event is the first with this failure."""


class Recovery(Struct, frozen=True):
    """A pair that had failed and is now pushed with success."""

    serial: str | None
    appliance: str | None
    feature_id: int | None
    feature: str | None
    failed_since: str
    """The time at which the failure was first announced."""
    failed_job_id: int
    """The job that opened the failure."""


class Event(Struct, frozen=True, kw_only=True):
    """One recorded change; each sink gets it once."""

    version: Literal[1] = 1
    id: str
    type: EventType
    time: str
    severity: Severity
    controller: str | None
    url: str | None = None
    reason: str | None = None
    since: str | None = None
    sink: str | None = None
    job: JobInfo | None = None
    failures: tuple[Failure, ...] = ()
    """In a final event of any status every failed pair of the job, in ``appliance.failed`` the new ones."""
    recoveries: tuple[Recovery, ...] = ()
    failures_outside_route: int = 0
    """In the copy for one sink: the number of further failures that its route excludes or silences hide."""
    failures_omitted: int = 0
    """In the copy for one sink: the number of failures that its size limit cut off; ``url`` has them all."""


def event_id(now: float, sequence: int, *identity: object) -> str:
    """Return a 30-digit hexadecimal id that sorts by time, then by position in its poll.

    The last 13 digits are a digest of ``identity`` (controller, job, revision, type), so the same transition
    in the same poll has the same id, and different ones differ.
    """
    digest = hashlib.sha256("\0".join(map(str, identity)).encode()).hexdigest()[:13]
    return f"{int(now * 1000):012x}{sequence:05x}{digest}"


def rfc3339(seconds: float | None) -> str | None:
    """Return Unix seconds as ``2026-11-23T09:20:00Z``; None for None and for a time outside the calendar."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return None


def counts(job: Job) -> Counts:
    """Count the job's rows by outcome, and its appliances."""
    by_outcome = dict.fromkeys(Outcome, 0)
    for row in job.rows:
        by_outcome[row.outcome] += 1
    failed = {row.serial for row in job.rows if row.outcome is Outcome.FAILED}
    return Counts(
        total=len(job.rows),
        pending=by_outcome[Outcome.PENDING],
        running=by_outcome[Outcome.RUNNING],
        succeeded=by_outcome[Outcome.SUCCEEDED],
        failed=by_outcome[Outcome.FAILED],
        appliances=ApplianceCounts(total=len({row.serial for row in job.rows}), failed=len(failed)),
    )


def job_info(
    job: Job,
    names: Names,
    *,
    previous_status: str | None,
    details_pending: bool = False,
    controller_now: float | None = None,
) -> JobInfo:
    """Return the part of an event that describes its job; ``controller_now`` is on the controller's clock."""
    running_for = None
    if job.status == Status.IN_PROGRESS and job.push_time is not None and controller_now is not None:
        running_for = max(0, int(controller_now - job.push_time))
    return JobInfo(
        id=job.id,
        idx=job.idx,
        timestamp=job.timestamp,
        operation=job.operation,
        status=job.status,
        previous_status=previous_status,
        created=rfc3339(job.creation_time),
        pushed=rfc3339(job.push_time),
        completed=rfc3339(job.completion_time),
        backup=job.backup,
        error_text=job.error_text,
        features=tuple(_feature_ref(feature_id, names) for feature_id in job.feature_ids),
        targets=Targets(job.site_ids, job.site_type_ids, job.serials),
        counts=counts(job),
        details_pending=details_pending,
        running_for=running_for,
    )


def failures(
    job: Job,
    names: Names,
    pairs: Iterable[tuple[str | None, int | None]],
    new: set[tuple[str | None, int | None]] | frozenset[tuple[str | None, int | None]],
) -> tuple[Failure, ...]:
    """Return one Failure per failed pair in ``pairs``, in row order; texts of repeated rows are joined."""
    wanted = set(pairs)
    texts: dict[tuple[str | None, int | None], list[str]] = {}
    for row in job.rows:
        if row.outcome is Outcome.FAILED and row.pair in wanted:
            kept = texts.setdefault(row.pair, [])
            if row.error_text and row.error_text not in kept:
                kept.append(row.error_text)
    return tuple(
        Failure(
            serial=serial,
            appliance=names.appliance(serial),
            feature_id=feature_id,
            feature=names.feature(feature_id),
            error_text="\n".join(lines) or None,
            new=(serial, feature_id) in new,
        )
        for (serial, feature_id), lines in texts.items()
    )


def _feature_ref(feature_id: int, names: Names) -> FeatureRef:
    found = names.features.get(feature_id)
    if found:
        return FeatureRef(feature_id, found.name, found.label)
    return FeatureRef(feature_id, f"feature_{feature_id}", f"feature {feature_id}")


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Event)


def as_shown(event: Event, shown: Sequence[int] | None) -> Event:
    """Return the event with the failures (or recoveries) at these positions alone; None for all."""
    if shown is None:
        return event
    if event.recoveries:
        return replace(event, recoveries=tuple(event.recoveries[i] for i in shown))
    return replace(
        event,
        failures=tuple(event.failures[i] for i in shown),
        failures_outside_route=len(event.failures) - len(shown),
    )


def encode(event: Event) -> bytes:
    """Return the event as JSON, UTF-8."""
    return _ENCODER.encode(event)


def decode(document: bytes | str) -> Event:
    """Return the event of a stored document."""
    return _DECODER.decode(document)
