"""A controller's jobs, rows and features, and for each job the events that were announced.

Times are Unix seconds. Those of a job are on the controller's clock, all others on our own.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct, field


class Status(StrEnum):
    """The states of a job, in the vendor's first spelling (type ``job_status``)."""

    QUEUED = "Queued"
    IN_PROGRESS = "InProgress"
    SUCCESS = "Success"
    FAILED = "Failed"
    CANCELED = "Canceled"


STATUSES = frozenset(Status)
FINISHED = frozenset({Status.SUCCESS, Status.FAILED, Status.CANCELED})


class Outcome(StrEnum):
    """The outcome of one feature on one appliance: the vendor's row status and result in one."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Pair(NamedTuple):
    """One feature on one appliance: the thing that fails and recovers."""

    serial: str | None
    feature_id: int | None

    @property
    def named(self) -> bool:
        """Return True if both halves are known, so that another job can name the same pair."""
        return self.serial is not None and self.feature_id is not None


class Row(Struct, frozen=True):
    """One ``detailed_status`` row. ``error_text`` is complete; only NUL and lone surrogates are replaced."""

    serial: str | None
    feature_id: int | None
    outcome: Outcome
    error_text: str | None = None

    @property
    def pair(self) -> Pair:
        """The (serial, feature) of this row."""
        return Pair(self.serial, self.feature_id)


class Job(Struct, frozen=True, kw_only=True):
    """A push job as the controller last showed it.

    ``status`` is a value of :class:`Status`, or the controller's own word where it is another.
    """

    id: int
    status: str
    idx: int | None = None
    timestamp: int | None = None
    operation: str | None = None
    creation_time: int | None = None
    push_time: int | None = None
    completion_time: int | None = None
    error_text: str | None = None
    backup: bool | None = None
    feature_ids: tuple[int, ...] = ()
    site_ids: tuple[int, ...] = ()
    site_type_ids: tuple[int, ...] = ()
    serials: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()

    @property
    def finished(self) -> bool:
        """Return True if the job has ended. An unknown status counts as open."""
        return self.status in FINISHED

    @property
    def order(self) -> tuple[int, int]:
        """The sort key of jobs: completion, else push, else creation time, then id."""
        for time in (self.completion_time, self.push_time, self.creation_time):
            if time is not None:
                return time, self.id
        return 0, self.id

    @property
    def unfinished_rows(self) -> bool:
        """Return True if any row has no result yet."""
        return any(row.outcome in (Outcome.PENDING, Outcome.RUNNING) for row in self.rows)

    def outcomes(self) -> dict[Pair, Outcome]:
        """Return each pair's outcome. If several rows have the same pair, a failure wins."""
        result: dict[Pair, Outcome] = {}
        for row in self.rows:
            if result.get(row.pair) is not Outcome.FAILED:
                result[row.pair] = row.outcome
        return result

    def failed_pairs(self) -> set[Pair]:
        """Return the pairs that are failed now."""
        return {row.pair for row in self.rows if row.outcome is Outcome.FAILED}


class Feature(Struct, frozen=True):
    """A feature that can be pushed. ``label`` is the vendor's ``pretty_name``, else the name."""

    id: int
    name: str
    label: str
    description: str | None = None
    push_enable: bool | None = None


class Appliance(Struct, frozen=True):
    """An appliance as the controller's inventory names it."""

    serial: str
    hostname: str | None = None
    model: str | None = None
    address: str | None = None
    health: str | None = None


class Names(Struct, frozen=True):
    """Names for people: features by id, host names by serial. Both may lack any entry."""

    features: Mapping[int, Feature] = {}
    appliances: Mapping[str, str] = {}

    def feature(self, feature_id: int | None) -> str | None:
        """Return the label of a feature; ``feature 7`` if the controller does not name it."""
        if feature_id is None:
            return None
        found = self.features.get(feature_id)
        return found.label if found else f"feature {feature_id}"

    def appliance(self, serial: str | None) -> str | None:
        """Return the host name for a serial number; None if it is not known."""
        return self.appliances.get(serial) if serial is not None else None


class JobState(Struct, frozen=True, kw_only=True):
    """The snapshot of one job: its last observation, and the part of it that was announced.

    ``job.rows`` keep their outcomes and lose their texts (the events have those), except while the job
    settles: its final event may then have to be built from them.
    ``uid`` names the job permanently (an id does not: a restored controller uses ids again).
    """

    uid: str
    job: Job
    revision: int = 1
    """Raised by each committed change; (uid, revision, event type) is announced at most once."""
    announced: frozenset[Pair] = field(name="told", default=frozenset())
    """Pairs announced as failed in this run, and failed in every observation since."""
    silent: frozenset[Pair] = frozenset()
    """Pairs that the first-run rule recorded as failed without an event."""
    previous_status: str | None = None
    """The status before the present one, if a poll saw it."""
    announced_final: str | None = field(name="told_final", default=None)
    """The final status of this run that was announced (or silently recorded)."""
    settle_until: float | None = None
    """Set while a Failed job's details are pending; its final event is due then at the latest."""
    watch_until: float | None = None
    """The time until which a finished job is still looked up for details that come late."""
    started_at: float | None = None
    """The time at which this run was first seen InProgress; for ``overdue`` if push_time is unknown."""
    overdue_announced: bool = field(name="overdue_told", default=False)
    vanished: bool = False
    """True if the controller no longer had it at the last request."""
    followers: frozenset[str] = frozenset()
    """The sinks that show this job in one message, which is kept up to date."""
    progress_due: float = 0.0
    """The earliest time at which the last announced progress was due."""
    ticketed: frozenset[str] = frozenset()
    """The sinks where the job's own ticket was opened, and no end of the job has closed it since."""

    @property
    def open(self) -> bool:
        """Return True if each poll must observe the job."""
        return not self.vanished and (not self.job.finished or self.settle_until is not None)


class TrackedFailure(Struct, frozen=True, kw_only=True):
    """One (controller, serial, feature) that was announced as failed; open until ``closed_at`` is set.

    ``notified`` maps each notified sink to the ids of the deliveries that notified it.
    """

    id: str
    controller: str
    serial: str | None
    feature_id: int | None
    feature: str | None
    feature_name: str | None = None
    """The feature's short name, in addition to the label that people see."""
    appliance: str | None
    error_text: str | None
    opened_at: float
    opened_event: str
    job_uid: str
    job_id: int
    last_job_uid: str
    """The job that failed it last, in the order of ``Job.order``."""
    failed_order: tuple[int, int]
    """``order`` of that job: only a later push can close the failure."""
    notified: dict[str, tuple[str, ...]] = {}
    tickets: dict[str, tuple[str, ...]] = {}
    """By sink, the subjects of its tickets."""
    scope: str | None = None
    """Set for a pre-push failure, of a whole job that reached no appliance: its targets and features. Such a
    failure is kept for its tickets.
    """
    closed_at: float | None = None
    closed_by: str | None = None
    """``job ID`` or ``operator``."""

    @property
    def pair(self) -> Pair:
        """The (serial, feature) that it is about."""
        return Pair(self.serial, self.feature_id)
