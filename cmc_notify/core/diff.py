"""From two looks at a job to what must be told of it.

``look`` compares what the snapshot remembers with what the controller shows now; ``expire`` is for what
time alone brings about; ``vanish`` for a job that is gone. All are plain functions of their arguments.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.events import EventType
from cmc_notify.core.model import Job, JobState, Outcome, Pair, Status

FirstRun = Literal["none", "open", "all"] | float

_FINAL = {
    Status.SUCCESS: EventType.JOB_SUCCEEDED,
    Status.FAILED: EventType.JOB_FAILED,
    Status.CANCELED: EventType.JOB_CANCELED,
}
_NO_PAIRS: frozenset[Pair] = frozenset()


class PollPolicy(Struct, frozen=True, kw_only=True):
    """What an operator decided about a controller. Seconds throughout."""

    settle: float = 60.0
    watch: float = 600.0
    """How much longer a job that just finished, or was told without its details, is looked up for more."""
    overdue: Mapping[str, float] = msgspec.field(default_factory=dict)
    first_run: FirstRun | None = None
    """Set until the controller's first full list is committed."""
    progress: bool = False
    """Whether any sink updates messages in place and so wants ``job.progress``."""


class EventDraft(Struct, frozen=True, kw_only=True):
    """An event to be, before it has names, an id and receivers."""

    type: EventType
    previous_status: str | None = None
    pairs: frozenset[Pair] = _NO_PAIRS
    """The failed pairs that it tells."""
    new: frozenset[Pair] = _NO_PAIRS
    """Those of ``pairs`` that nothing has told before."""
    details_pending: bool = False
    reason: str | None = None


class Change(Struct, frozen=True, kw_only=True):
    """A job's next state and what is told of it, in order. ``job`` holds the error texts."""

    state: JobState
    job: Job
    drafts: tuple[EventDraft, ...] = ()


def compare(
    old: JobState | None, job: Job, *, uid: str, now: float, controller_now: float, policy: PollPolicy
) -> list[Change]:
    """What changed since ``old``: no change at all, one, or two (the end of an unfinished telling first).

    ``controller_now`` is the controller's clock, for the first-run rule and for ``overdue``.
    """
    if old is None:
        return [_first_look(job, uid=uid, now=now, controller_now=controller_now, policy=policy)]
    if _is_rerun(old, job):
        ended = check_deadlines(old, now=now, controller_now=controller_now, policy=policy, settle_now=True)
        before = ended.state if ended else old
        rerun = _rerun(before, job, now=now, controller_now=controller_now, policy=policy)
        return [ended, rerun] if ended else [rerun]
    change = _same_run(old, _fill(old.job, job), now=now, controller_now=controller_now, policy=policy)
    return [change] if _differs(old, change) else []


def check_deadlines(
    old: JobState, *, now: float, controller_now: float, policy: PollPolicy, settle_now: bool = False
) -> Change | None:
    """What is due by time alone, without a new look: an overdue warning, the end of settling."""
    if old.settle_until is not None and (settle_now or now >= old.settle_until):
        return _same_run(
            replace(old, settle_until=now), old.job, now=now, controller_now=controller_now, policy=policy
        )
    warning = _overdue(old, old.job, now=now, controller_now=controller_now, policy=policy)
    if warning is None:
        return None
    state = replace(old, revision=old.revision + 1, overdue_told=True)
    return Change(state=state, job=old.job, drafts=(warning,))


def mark_vanished(old: JobState, *, now: float, controller_now: float, policy: PollPolicy) -> Change:
    """The controller no longer has the job: an open one is told as such, a settling one gets its end."""
    if old.settle_until is not None:
        ended = check_deadlines(old, now=now, controller_now=controller_now, policy=policy, settle_now=True)
        assert ended is not None
        return replace(ended, state=replace(ended.state, vanished=True, watch_until=None))
    state = replace(old, revision=old.revision + 1, vanished=True, watch_until=None)
    gone = _draft(EventType.JOB_VANISHED, state)
    return Change(state=state, job=old.job, drafts=() if old.job.finished else (gone,))


def _first_look(job: Job, *, uid: str, now: float, controller_now: float, policy: PollPolicy) -> Change:
    blank = JobState(uid=uid, job=replace(job, status="", rows=()), revision=0)
    if _announced(job, controller_now, policy.first_run):
        change = _same_run(blank, job, now=now, controller_now=controller_now, policy=policy)
        if job.status == Status.QUEUED:
            return replace(change, drafts=(EventDraft(type=EventType.JOB_QUEUED), *change.drafts))
        return change
    state = replace(
        blank,
        revision=1,
        job=compact(job),
        silent=frozenset(job.failed_pairs()),
        told_final=job.status if job.finished else None,
        started_at=now if job.status == Status.IN_PROGRESS else None,
    )
    late = _overdue(state, job, now=now, controller_now=controller_now, policy=policy)
    return Change(state=replace(state, overdue_told=late is not None), job=job)


def _announced(job: Job, controller_now: float, rule: FirstRun | None) -> bool:
    match rule:
        case None | "all":
            return True
        case "none":
            return False
        case "open":
            return not job.finished
        case seconds:
            return not job.finished or job.order[0] >= controller_now - seconds


def _is_rerun(old: JobState, job: Job) -> bool:
    """Queued or running again after its end, or ended again at another known time.

    A time that was unknown and is now filled in is no rerun: details may come after the status.
    """
    if not (old.job.finished or old.told_final):
        return False
    if job.status in (Status.QUEUED, Status.IN_PROGRESS):
        return True
    times = (
        (old.job.push_time, job.push_time),
        (old.job.completion_time, job.completion_time),
    )
    return job.finished and any(None not in pair and pair[0] != pair[1] for pair in times)


def _rerun(old: JobState, job: Job, *, now: float, controller_now: float, policy: PollPolicy) -> Change:
    fresh = JobState(
        uid=old.uid,
        job=replace(old.job, rows=()),
        revision=old.revision,
        previous_status=old.job.status,
        followers=old.followers,
        progress_due=old.progress_due,
        ticketed=old.ticketed,
    )
    if job.creation_time is None:  # part of the job's name, so it holds for every run
        job = replace(job, creation_time=old.job.creation_time)
    change = _same_run(fresh, job, now=now, controller_now=controller_now, policy=policy)
    reopened = EventDraft(type=EventType.JOB_REOPENED, previous_status=old.job.status)
    return replace(change, drafts=(reopened, *change.drafts))


def _same_run(old: JobState, job: Job, *, now: float, controller_now: float, policy: PollPolicy) -> Change:
    state = _next_state(old, job, now=now)
    drafts = _running_drafts(old, state, job, policy)
    ends = job.finished and old.told_final != job.status
    if ends and job.status == Status.FAILED and _unsettled(job):
        due = old.settle_until if old.settle_until is not None else now + policy.settle
        if now < due:
            state = replace(state, job=job, settle_until=due)
            return Change(state=state, job=job, drafts=tuple(drafts))

    failed = frozenset(job.failed_pairs())
    newly = failed - state.told - state.silent
    carried_by_end = ends and job.status == Status.FAILED
    told = state.told
    if newly and not carried_by_end:
        drafts.append(_draft(EventType.APPLIANCE_FAILED, state, pairs=newly, new=newly))
        told |= newly
    if warning := _overdue(state, job, now=now, controller_now=controller_now, policy=policy):
        drafts.append(warning)
    if ends:
        drafts.append(
            _draft(
                _FINAL[Status(job.status)],
                state,
                pairs=failed,
                new=failed - told,
                details_pending=carried_by_end and _unsettled(job),
            )
        )
    state = replace(
        state,
        told=told | failed if ends else told,
        silent=_NO_PAIRS if ends else state.silent,
        told_final=job.status if ends else old.told_final,
        watch_until=_watch_until(job, now, controller_now, policy) if ends else old.watch_until,
        overdue_told=old.overdue_told or warning is not None,
    )
    return Change(state=state, job=job, drafts=tuple(drafts))


def _next_state(old: JobState, job: Job, *, now: float) -> JobState:
    """What was seen, before anything of it is told: a pair seen otherwise may be told again."""
    outcomes = job.outcomes()

    def still(pairs: frozenset[Pair]) -> frozenset[Pair]:
        return frozenset(p for p in pairs if outcomes.get(p, Outcome.FAILED) is Outcome.FAILED)

    changed = old.job.status != job.status
    started = changed and job.status == Status.IN_PROGRESS
    return replace(
        old,
        revision=old.revision + 1,
        job=compact(job),
        told=still(old.told),
        silent=still(old.silent),
        previous_status=(old.job.status or None) if changed else old.previous_status,
        started_at=now if started else old.started_at,
        settle_until=None,
        vanished=False,
    )


def _running_drafts(old: JobState, state: JobState, job: Job, policy: PollPolicy) -> list[EventDraft]:
    if job.status != Status.IN_PROGRESS:
        return []
    if old.job.status != Status.IN_PROGRESS:
        return [_draft(EventType.JOB_STARTED, state)]
    if policy.progress and old.job.outcomes() != job.outcomes():
        return [_draft(EventType.JOB_PROGRESS, state)]
    return []


def _draft(
    kind: EventType,
    state: JobState,
    *,
    pairs: frozenset[Pair] = _NO_PAIRS,
    new: frozenset[Pair] = _NO_PAIRS,
    details_pending: bool = False,
) -> EventDraft:
    return EventDraft(
        type=kind,
        previous_status=state.previous_status,
        pairs=pairs,
        new=new,
        details_pending=details_pending,
    )


def _fill(old: Job, job: Job) -> Job:
    """Keep the times that were known in this run where the controller leaves them out now."""

    def known(after: int | None, before: int | None) -> int | None:
        return before if after is None else after

    return replace(
        job,
        creation_time=known(job.creation_time, old.creation_time),
        push_time=known(job.push_time, old.push_time),
        completion_time=known(job.completion_time, old.completion_time),
    )


def _unsettled(job: Job) -> bool:
    """Failed, yet without all its details: rows without result, or neither rows nor a pre-push error."""
    return job.unfinished_rows or (not job.rows and not job.error_text)


def _watch_until(job: Job, now: float, controller_now: float, policy: PollPolicy) -> float | None:
    """None for what ended long ago: a whole past that is told at a first run is not looked up again."""
    ended = job.completion_time
    pending = job.status == Status.FAILED and _unsettled(job)
    if ended is not None and controller_now - ended > policy.watch and not pending:
        return None
    return now + policy.watch


def _overdue(
    state: JobState, job: Job, *, now: float, controller_now: float, policy: PollPolicy
) -> EventDraft | None:
    limit = policy.overdue.get((job.operation or "").lower())
    if limit is None or state.overdue_told or job.status != Status.IN_PROGRESS:
        return None
    running = now - state.started_at if state.started_at is not None else 0.0
    if job.push_time is not None:
        running = max(running, controller_now - job.push_time)
    return _draft(EventType.JOB_OVERDUE, state) if running > limit else None


def compact(job: Job) -> Job:
    """The job as the snapshot keeps it: rows without their texts."""
    if not any(row.error_text for row in job.rows):
        return job
    return replace(job, rows=tuple(replace(row, error_text=None) for row in job.rows))


def _differs(old: JobState, change: Change) -> bool:
    return bool(change.drafts) or replace(change.state, revision=old.revision) != old
