"""The controller's jobs, and every version of each.

A change of a job makes a new version with its wire document; several changes inside ``with job.change():``
make one. Versions are kept forever, also those of purged jobs.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cmc_notify.simulator.clock import VirtualClock
from cmc_notify.simulator.quirks import Quirks
from cmc_notify.simulator.wire import Row, encode, job_document, plain, spell

FINISHED = frozenset({"Failed", "Success", "Canceled"})

_FIELDS = frozenset({
    "status", "operation", "idx", "timestamp", "feature_ids", "creation_time", "push_time",
    "completion_time", "error_text", "backup", "site_ids", "appliance_serial_numbers", "site_type_ids",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Version:
    """One state of one job, in the form that the controller serves. ``time`` is virtual Unix seconds."""

    key: str
    number: int
    time: float
    body: bytes

    @property
    def document(self) -> Any:
        """Return the decoded wire document."""
        return json.loads(self.body)


class SimulatedJob:
    """A push job on the controller. ``key`` is unique; an id can be used again."""

    def __init__(self, jobs: "Jobs", key: str, fields: dict[str, Any], *, raw: bytes | None = None) -> None:
        self.key = key
        self.rows: list[Row] = []
        self.overrides: dict[str, Any] = {}
        """Wire properties that replace the real ones; ``ABSENT`` leaves one out."""
        self.versions: list[Version] = []
        self.quirks: Quirks | None = None
        """This job's own quirks, if they differ from the controller's."""
        self.raw = raw
        """The literal list item, if it is not a job."""
        self._jobs = jobs
        self._fields = fields
        self._shown_rows: Sequence[Row] = ()
        self._depth = 0

    @property
    def id(self) -> int:
        """Return the number that the controller gave it."""
        return int(self._fields["id"])

    @property
    def status(self) -> str:
        """Return the true status, in the vendor's first spelling."""
        return str(self._fields["status"])

    @property
    def finished(self) -> bool:
        """Return True if it is Failed, Success or Canceled."""
        return self.status in FINISHED

    @property
    def body(self) -> bytes:
        """Return the newest version's wire document."""
        return self.versions[-1].body

    def get(self, name: str) -> Any:
        """Return one of the job's true properties by its wire name (``status`` for job_status)."""
        return self._fields[name]

    @contextmanager
    def change(self) -> Iterator["SimulatedJob"]:
        """Collect several changes into one version."""
        self._depth += 1
        try:
            yield self
        finally:
            self._depth -= 1
        if not self._depth:
            self._jobs.publish(self)

    def set(self, **fields: Any) -> None:
        """Change properties by wire name (``status`` for job_status)."""
        if unknown := fields.keys() - _FIELDS:
            raise TypeError(f"a job has no {', '.join(sorted(unknown))}")
        with self.change():
            self._fields.update(fields)

    def override(self, **properties: Any) -> None:
        """Replace properties of the wire document by false ones."""
        with self.change():
            self.overrides.update(properties)

    def set_rows(self, rows: Iterable[Row]) -> None:
        """Replace all detail rows."""
        with self.change():
            self.rows = list(rows)

    def set_row(
        self,
        serial: str | None,
        feature_id: int | None,
        result: str | None = None,
        error_text: str | None = None,
        *,
        status: str | None = None,
    ) -> None:
        """Set the row of a pair, or add one. With a result the default status is Completed."""
        row = Row(serial, feature_id, status or ("Completed" if result else "Running"), result, error_text)
        with self.change():
            for place, old in enumerate(self.rows):
                if (old.serial, old.feature_id) == (serial, feature_id):
                    self.rows[place] = row
                    return
            self.rows.append(row)

    def start(self) -> None:
        """Start the push: InProgress, push time now."""
        self.set(status="InProgress", push_time=self._jobs.now)

    def finish(self, status: str, *, error_text: str | None = None) -> None:
        """End the push now with this status; ``error_text`` is that of a pre-push failure."""
        self.set(status=status, completion_time=self._jobs.now, error_text=error_text)

    def cancel(self) -> None:
        """Cancel the job now. Raises ValueError if it is finished."""
        if self.finished:
            raise ValueError(f"job {self.id} is {self.status}")
        self.finish("Canceled")

    def rerun(self, status: str = "InProgress") -> None:
        """Run the same job again: rows start again, times and texts of the last run are removed."""
        with self.change():
            self.rows = [Row(row.serial, row.feature_id) for row in self.rows]
            self.set(status=status, completion_time=None, error_text=None, push_time=None)
            if status == "InProgress":
                self.set(push_time=self._jobs.now)

    def purge(self) -> None:
        """Remove the job from the controller; its history stays."""
        self._jobs.purge(self)

    def encoded(self, quirks: Quirks) -> bytes:
        """Return the present wire document, with the rows that are shown now."""
        if self.raw is not None:
            return self.raw
        return encode(job_document(self._fields, self._shown_rows, self.quirks or quirks, self.overrides))

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Set the rows that the wire document shows."""
        self._shown_rows = rows


class Jobs:
    """All jobs in order of creation, and the history of all their versions."""

    def __init__(self, clock: VirtualClock, quirks: Quirks) -> None:
        self.history: list[Version] = []
        self.generation = 0
        """Grows each time that any list may have changed."""
        self._clock = clock
        self._quirks = quirks
        self._listed: dict[str, SimulatedJob] = {}
        self._keys: set[str] = set()
        self._next_id = 4101

    def __iter__(self) -> Iterator[SimulatedJob]:
        return iter(self._listed.values())

    def __len__(self) -> int:
        return len(self._listed)

    @property
    def now(self) -> int:
        """Return the controller's time in whole seconds."""
        return int(self._clock.now)

    def add(
        self,
        *,
        job_id: int | None = None,
        rows: Iterable[Row] = (),
        overrides: dict[str, Any] | None = None,
        **fields: Any,
    ) -> SimulatedJob:
        """Add a job; properties by wire name (``status`` for job_status).

        Defaults: the next free ``job_id``, ``creation_time`` now, target site 1. An id can be used again: a
        controller restored from a backup does that.
        """
        number = self._next_id if job_id is None else job_id
        self._next_id = max(self._next_id, number + 1)
        created = fields.get("creation_time", self.now)
        known = {
            "id": number, "idx": number, "operation": "push", "timestamp": created, "feature_ids": [1],
            "status": "Queued", "backup": False, "creation_time": created, "push_time": None,
            "completion_time": None, "error_text": None, "site_ids": [], "appliance_serial_numbers": [],
            "site_type_ids": [],
        }  # fmt: skip
        if unknown := fields.keys() - _FIELDS:
            raise TypeError(f"a job has no {', '.join(sorted(unknown))}")
        known.update(fields)
        if not (known["site_ids"] or known["appliance_serial_numbers"] or known["site_type_ids"]):
            known["site_ids"] = [1]
        job = SimulatedJob(self, self._key(f"{number}@{created}"), known)
        with job.change():
            job.rows = list(rows)
            job.overrides = dict(overrides or {})
            self._listed[job.key] = job
        return job

    def add_raw(self, item: bytes) -> SimulatedJob:
        """Add a list item that is not a job (``b"null"``, ``b'"x"'``); only unfiltered lists show it."""
        job = SimulatedJob(self, self._key("raw"), {"id": -1, "status": "", "feature_ids": []}, raw=item)
        with job.change():
            self._listed[job.key] = job
        return job

    def publish(self, job: SimulatedJob) -> None:
        """Record the job's present state; rows follow later if this controller delays them."""
        rows = tuple(job.rows)
        if self._quirks.rows_delay and job.versions:
            self._clock.at(self._clock.now + self._quirks.rows_delay, lambda: self._show(job, rows))
        else:
            job.show_rows(rows)
        self._record(job)

    def purge(self, job: SimulatedJob) -> None:
        """Remove the job from every list."""
        self._listed.pop(job.key, None)
        self.generation += 1

    def get(self, job_id: int) -> SimulatedJob | None:
        """Return the listed job with this id, the newest of several."""
        found = [job for job in self if job.raw is None and job.id == job_id]
        return found[-1] if found else None

    def select(
        self, *, status: str | None, feature_id: int | None, after: int | None, before: int | None
    ) -> list[SimulatedJob]:
        """Return the jobs that a list with these filters shows."""
        if self._quirks.filters_ignored or (status, feature_id, after, before) == (None, None, None, None):
            return list(self)
        return [
            job
            for job in self
            if job.raw is None
            and (status is None or self._has_status(job, status))
            and (feature_id is None or feature_id in job.get("feature_ids"))
            and self._within(job, after, before)
        ]

    def _has_status(self, job: SimulatedJob, asked: str) -> bool:
        if self._quirks.strict_filter_spelling:
            return asked == spell(job.status, self._quirks.spelling)
        return plain(asked) == plain(job.status)

    def _within(self, job: SimulatedJob, after: int | None, before: int | None) -> bool:
        if after is None and before is None:
            return True
        field = self._quirks.after_field
        time = job.get(field if field == "timestamp" else f"{field}_time")
        if time is None:
            return False
        slack = 0 if self._quirks.inclusive else 1
        return (after is None or time >= after + slack) and (before is None or time <= before - slack)

    def _show(self, job: SimulatedJob, rows: Sequence[Row]) -> None:
        job.show_rows(rows)
        self._record(job)

    def _record(self, job: SimulatedJob) -> None:
        body = job.encoded(self._quirks)
        if job.versions and job.body == body:
            return
        version = Version(job.key, len(job.versions) + 1, self._clock.now, body)
        job.versions.append(version)
        self.history.append(version)
        self.generation += 1

    def _key(self, wanted: str) -> str:
        key, number = wanted, 1
        while key in self._keys:
            number += 1
            key = f"{wanted}#{number}"
        self._keys.add(key)
        return key
