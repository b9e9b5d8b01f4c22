"""A controller in memory that keeps to the simulator's job book and records every answer that it gave.

What a test may know of a poll stands in ``answers``: the documents that it was shown, in order. Backups,
lost ids, clocks that jump and outages are one call each.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cmc_notify.controller.listing import ListedItem
from cmc_notify.core.model import Appliance, Feature, Job
from cmc_notify.errors import ControllerUnreachable, JobNotFound, Unauthorized
from cmc_notify.simulator import Quirks, Row, SimulatedJob
from cmc_notify.simulator.clock import START, VirtualClock
from cmc_notify.simulator.jobs import Jobs

FIRST_TIMELESS_ID = 90_000
"""Jobs without any time are numbered from here on and never anew: only times tell apart who shares an id."""


class JumpingClock(VirtualClock):
    """Virtual time by hand, in both directions."""

    def jump(self, seconds: float) -> None:
        """Move on or back; nothing is ever planned on this clock."""
        self._base += seconds


@dataclass
class Answer:
    """One answer: ``bodies`` in order; for a look-up ``job_id``, and no body where the job is not there."""

    bodies: list[bytes] = field(default_factory=list)
    job_id: int | None = None
    full: bool = False


@dataclass
class Outage:
    """What fails: lists from the ``after``-th on, or every look-up by id; as refused credentials or not."""

    after: int | None = None
    look_ups: bool = False
    refused: bool = False


class ModelController:
    """Implements ports.JobSource."""

    def __init__(self, quirks: Quirks) -> None:
        self.quirks = quirks
        self.clock = JumpingClock(0, START)
        self.jobs = Jobs(self.clock, quirks)
        self.answers: list[Answer] = []
        """Of the poll that runs, or ran last."""
        self.outage = Outage()
        self.between: Callable[[], None] | None = None
        """Happens once, after the next list."""
        self.between_happened = False
        self.list_failed = False
        self.our_time: Callable[[], float] = lambda: self.clock.now
        self._lists = 0
        self._backup: list[tuple[SimulatedJob, dict[str, Any], list[Row], dict[str, Any]]] = []
        self._timeless = FIRST_TIMELESS_ID

    # --- what happens to the controller ---------------------------------------------------------------------

    def add(self, *, timeless: bool, rows: Iterable[Row], **fields: Any) -> SimulatedJob:
        """A new job, with times or entirely without."""
        if not timeless:
            return self.jobs.add(rows=rows, **fields)
        following = self.jobs._next_id
        self._timeless += 1
        job = self.jobs.add(
            job_id=self._timeless,
            rows=rows,
            creation_time=None,
            timestamp=0,
            overrides=dict.fromkeys(("push_time", "completion_time")),
            **fields,
        )
        self.jobs._next_id = following
        return job

    def reset_ids(self) -> None:
        """Every job is forgotten and ids begin anew."""
        for job in list(self.jobs):
            self.jobs.purge(job)
        self.jobs._next_id = 4101

    def show_again(self, job: SimulatedJob) -> None:
        """A purged job is back, as it was."""
        self.jobs._listed[job.key] = job
        self.jobs.publish(job)

    def back_up(self) -> None:
        """Remember every job as it is."""
        self._backup = [
            (job, dict(job._fields), list(job.rows), dict(job.overrides))
            for job in self.jobs
            if job.raw is None
        ]

    def restore(self) -> None:
        """Go back to the last backup: what came since is gone, what is in it is as it was then."""
        for job in list(self.jobs):
            self.jobs.purge(job)
        for job, fields, rows, overrides in self._backup:
            job._fields.update(fields)
            job.rows = list(rows)
            job.overrides = dict(overrides)
            self.show_again(job)
        ids = [job.id for job, *_ in self._backup if job.id < FIRST_TIMELESS_ID]
        self.jobs._next_id = max(ids, default=4100) + 1

    def reused(self, job_id: int) -> bool:
        """Whether several jobs have had this id."""
        return sum(key.startswith(f"{job_id}@") for key in self.jobs._keys) > 1

    def listed(self) -> list[SimulatedJob]:
        """The jobs that are there, without what is no job."""
        return [job for job in self.jobs if job.raw is None]

    # --- what it answers ------------------------------------------------------------------------------------

    def poll_begins(self) -> None:
        """Forget what was answered before."""
        self.answers = []
        self.between_happened = self.list_failed = False
        self._lists = 0

    @property
    def clock_offset(self) -> float:
        """Seconds by which its clock is ahead of ours."""
        return self.clock.now - self.our_time()

    async def list_jobs(
        self,
        *,
        status: str | None = None,
        feature_id: int | None = None,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[ListedItem]:
        """As its quirks have it; recorded."""
        if self.outage.after is not None and self._lists >= self.outage.after:
            self.list_failed = True
            raise self._failure()
        self._lists += 1
        shown = self.jobs.select(status=status, feature_id=feature_id, after=after, before=before)
        full = (status, feature_id, after, before) == (None, None, None, None)
        answer = Answer([job.body for job in shown], full=full)
        self.answers.append(answer)
        if self.between:
            happens, self.between = self.between, None
            self.between_happened = True
            happens()
        return [ListedItem(body) for body in answer.bodies]

    async def get_job(self, job_id: int) -> ListedItem:
        """As it stands; recorded."""
        if self.outage.look_ups:
            raise self._failure()
        job = self.jobs.get(job_id)
        self.answers.append(Answer([job.body] if job else [], job_id=job_id))
        if job is None:
            raise JobNotFound(f"no job {job_id}")
        return ListedItem(job.body)

    async def cancel_job(self, job_id: int) -> Job:
        """Not what a poll asks."""
        raise JobNotFound(f"job {job_id} is not canceled here")

    async def list_features(self, *, name: str | None = None) -> Sequence[Feature]:  # noqa: ARG002  the port's
        """One."""
        return [Feature(3, "qos", "QoS")]

    async def get_feature(self, feature_id: int) -> Feature | None:  # noqa: ARG002  the port's
        """No other."""
        return None

    async def list_appliances(self) -> Sequence[Appliance]:
        """None that this account may read."""
        return []

    async def sign_in(self) -> None:
        """Always granted."""

    async def close(self) -> None:
        """Nothing to release."""

    def _failure(self) -> Exception:
        return (
            Unauthorized("access code refused") if self.outage.refused else ControllerUnreachable("no route")
        )
