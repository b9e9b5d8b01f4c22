"""What the bridge knows of a controller: jobs, their rows, features; and of each job, what was told.

Times are Unix seconds. Those of a job are on the controller's clock, everything else on ours.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct


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
    """What became of one feature on one appliance; the vendor's row status and result in one."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Pair(NamedTuple):
    """One feature on one appliance: what fails and recovers."""

    serial: str | None
    feature_id: int | None

    @property
    def named(self) -> bool:
        """Whether both halves are known, so that another job can speak of the same pair."""
        return self.serial is not None and self.feature_id is not None


class Row(Struct, frozen=True):
    """One ``detailed_status`` row. ``error_text`` is complete; only NUL and lone surrogates are replaced."""

    serial: str | None
    feature_id: int | None
    outcome: Outcome
    error_text: str | None = None

    @property
    def pair(self) -> Pair:
        """The (serial, feature) that this row speaks of."""
        return Pair(self.serial, self.feature_id)


class Job(Struct, frozen=True, kw_only=True):
    """A push job as the controller last showed it.

    ``status`` is a value of :class:`Status`, or the controller's own word where that is unknown.
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
        """Whether the job has reached an end. An unknown status counts as open."""
        return self.status in FINISHED

    @property
    def order(self) -> tuple[int, int]:
        """Sorts jobs by when they spoke last: completion, else push, else creation time, then id."""
        for time in (self.completion_time, self.push_time, self.creation_time):
            if time is not None:
                return time, self.id
        return 0, self.id

    @property
    def unfinished_rows(self) -> bool:
        """Whether any row has no result yet."""
        return any(row.outcome in (Outcome.PENDING, Outcome.RUNNING) for row in self.rows)

    def outcomes(self) -> dict[Pair, Outcome]:
        """Each pair's outcome. Where rows repeat a pair, a failure outweighs everything else."""
        result: dict[Pair, Outcome] = {}
        for row in self.rows:
            if result.get(row.pair) is not Outcome.FAILED:
                result[row.pair] = row.outcome
        return result

    def failed_pairs(self) -> set[Pair]:
        """The pairs that are failed now."""
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
    """What people call things: feature by id, host name by serial. Both may lack any entry."""

    features: Mapping[int, Feature] = {}
    appliances: Mapping[str, str] = {}

    def feature(self, feature_id: int | None) -> str | None:
        """The label of a feature; ``feature 7`` where the controller does not name it."""
        if feature_id is None:
            return None
        found = self.features.get(feature_id)
        return found.label if found else f"feature {feature_id}"

    def appliance(self, serial: str | None) -> str | None:
        """The host name for a serial number, where known."""
        return self.appliances.get(serial) if serial is not None else None


class JobState(Struct, frozen=True, kw_only=True):
    """The snapshot of one job: how it was last seen, and what of it was told.

    ``job.rows`` keep their outcomes and lose their texts (the events have those), except while the job
    settles, when its final event may have to be told from here.
    ``uid`` names the job for good (an id alone does not: a restored controller uses ids again).
    """

    uid: str
    job: Job
    revision: int = 1
    """Raised by each committed change; (uid, revision, event type) is told at most once."""
    told: frozenset[Pair] = frozenset()
    """Pairs told as failed in this run and not seen otherwise since."""
    silent: frozenset[Pair] = frozenset()
    """Pairs that the first-run rule recorded as failed without telling them."""
    previous_status: str | None = None
    """The status before the present one, as far as a poll saw it."""
    told_final: str | None = None
    """The final status that was told of this run (or silently recorded)."""
    settle_until: float | None = None
    """Set while a Failed job's details are awaited; its final event is due then at the latest."""
    watch_until: float | None = None
    """Until when a finished job is still looked up for details that come late."""
    started_at: float | None = None
    """When this run was first seen InProgress; for ``overdue`` where push_time is unknown."""
    overdue_told: bool = False
    vanished: bool = False
    """Whether the controller no longer had it when last asked."""
    followers: frozenset[str] = frozenset()
    """The sinks that show this job in a message of their own, which is kept up to date."""
    progress_due: float = 0.0
    """When the last progress that was told was due at the earliest."""
    ticketed: frozenset[str] = frozenset()
    """The sinks where the job's own ticket was opened, and not closed by an end of the job since."""

    @property
    def open(self) -> bool:
        """Whether the job must be seen in each poll."""
        return not self.vanished and (not self.job.finished or self.settle_until is not None)


class TrackedFailure(Struct, frozen=True, kw_only=True):
    """One (controller, serial, feature) that was told as failed; open until ``closed_at`` is set.

    ``notified`` maps each sink that was told to the ids of the deliveries that told it.
    """

    id: str
    controller: str
    serial: str | None
    feature_id: int | None
    feature: str | None
    feature_name: str | None = None
    """The feature's short name, beside the label that people are shown."""
    appliance: str | None
    error_text: str | None
    opened_at: float
    opened_event: str
    job_uid: str
    job_id: int
    last_job_uid: str
    """The job that failed it last, in the order of ``Job.order``."""
    failed_order: tuple[int, int]
    """``order`` of that job: only a later push can close the incident."""
    notified: dict[str, tuple[str, ...]] = {}
    tickets: dict[str, tuple[str, ...]] = {}
    """Of each sink that opens tickets, the subjects of the tickets that stand for it."""
    scope: str | None = None
    """Set where it is about a whole job that failed before it reached any appliance: its targets and
    features. Such an incident is kept for its tickets.
    """
    closed_at: float | None = None
    closed_by: str | None = None
    """``job ID`` or ``operator``."""

    @property
    def pair(self) -> Pair:
        """The (serial, feature) that it is about."""
        return Pair(self.serial, self.feature_id)
