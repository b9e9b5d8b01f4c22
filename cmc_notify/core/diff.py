"""The changes of a job between two observations, and the events that announce them.

``compare`` compares the stored state with the job that the controller shows now. ``check_deadlines`` finds
the changes that time alone brings. ``mark_vanished`` is for a job that the controller no longer has. All are
pure functions of their arguments.
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
    """An operator's settings for a controller. All times are in seconds."""

    settle: float = 60.0
    watch: float = 600.0
    """The time for which a job is still looked up after it finished or was announced without its details."""
    overdue: Mapping[str, float] = msgspec.field(default_factory=dict)
    first_run: FirstRun | None = None
    """Set until the controller's first full list is committed."""
    progress: bool = False
    """True if any sink updates messages in place and so needs ``job.progress``."""


class EventDraft(Struct, frozen=True, kw_only=True):
    """A future event, before it has names, an id and recipients."""

    type: EventType
    previous_status: str | None = None
    pairs: frozenset[Pair] = _NO_PAIRS
    """The failed pairs in it."""
    new: frozenset[Pair] = _NO_PAIRS
    """Those of ``pairs`` that no event has announced before."""
    details_pending: bool = False
    reason: str | None = None


class Change(Struct, frozen=True, kw_only=True):
    """A job's next state and its events, in order. ``job`` holds the error texts."""

    state: JobState
    job: Job
    drafts: tuple[EventDraft, ...] = ()


def compare(
    old: JobState | None, job: Job, *, uid: str, now: float, controller_now: float, policy: PollPolicy
) -> list[Change]:
    """Return the changes since ``old``: none, one or two (the end of a run that was settling comes first).

    ``controller_now`` is the controller's clock, for the first-run rule and for ``overdue``.
    """
    if old is None:
        return [_first_observation(job, uid=uid, now=now, controller_now=controller_now, policy=policy)]
    if _is_rerun(old, job):
        ended = check_deadlines(old, now=now, controller_now=controller_now, policy=policy, settle_now=True)
        before = ended.state if ended else old
        rerun = _rerun(before, job, now=now, controller_now=controller_now, policy=policy)
        return [ended, rerun] if ended else [rerun]
    change = _same_run(
        old, _keep_known_times(old.job, job), now=now, controller_now=controller_now, policy=policy
    )
    return [change] if _differs(old, change) else []


def check_deadlines(
    old: JobState, *, now: float, controller_now: float, policy: PollPolicy, settle_now: bool = False
) -> Change | None:
    """Return a change that is due by time alone, or None: an overdue warning, or the end of settling."""
    if old.settle_until is not None and (settle_now or now >= old.settle_until):
        return _same_run(
            replace(old, settle_until=now), old.job, now=now, controller_now=controller_now, policy=policy
        )
    warning = _overdue(old, old.job, now=now, controller_now=controller_now, policy=policy)
    if warning is None:
        return None
    state = replace(old, revision=old.revision + 1, overdue_announced=True)
    return Change(state=state, job=old.job, drafts=(warning,))


def mark_vanished(old: JobState, *, now: float, controller_now: float, policy: PollPolicy) -> Change:
    """Return the change for a job that the controller no longer has.

    An open job gets ``job.vanished``, a settling one its final event.
    """
    if old.settle_until is not None:
        ended = check_deadlines(old, now=now, controller_now=controller_now, policy=policy, settle_now=True)
        assert ended is not None
        return replace(ended, state=replace(ended.state, vanished=True, watch_until=None))
    state = replace(old, revision=old.revision + 1, vanished=True, watch_until=None)
    gone = _draft(EventType.JOB_VANISHED, state)
    return Change(state=state, job=old.job, drafts=() if old.job.finished else (gone,))


def _first_observation(
    job: Job, *, uid: str, now: float, controller_now: float, policy: PollPolicy
) -> Change:
    blank = JobState(uid=uid, job=replace(job, status="", rows=()), revision=0)
    if _is_announced(job, controller_now, policy.first_run):
        change = _same_run(blank, job, now=now, controller_now=controller_now, policy=policy)
        if job.status == Status.QUEUED:
            return replace(change, drafts=(EventDraft(type=EventType.JOB_QUEUED), *change.drafts))
        return change
    state = replace(
        blank,
        revision=1,
        job=compact(job),
        silent=frozenset(job.failed_pairs()),
        announced_final=job.status if job.finished else None,
        started_at=now if job.status == Status.IN_PROGRESS else None,
    )
    late = _overdue(state, job, now=now, controller_now=controller_now, policy=policy)
    return Change(state=replace(state, overdue_announced=late is not None), job=job)


def _is_announced(job: Job, controller_now: float, rule: FirstRun | None) -> bool:
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
    """Return True if it is queued or running again after its end, or ended again at another known time.

    A time that was unknown and is known now does not make a rerun: details may come after the status.
    """
    if not (old.job.finished or old.announced_final):
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
    if job.creation_time is None:  # it names the job, so it is the same for every run
        job = replace(job, creation_time=old.job.creation_time)
    change = _same_run(fresh, job, now=now, controller_now=controller_now, policy=policy)
    reopened = EventDraft(type=EventType.JOB_REOPENED, previous_status=old.job.status)
    return replace(change, drafts=(reopened, *change.drafts))


def _same_run(old: JobState, job: Job, *, now: float, controller_now: float, policy: PollPolicy) -> Change:
    state = _next_state(old, job, now=now)
    drafts = _running_drafts(old, state, job, policy)
    ends = job.finished and old.announced_final != job.status
    if ends and job.status == Status.FAILED and _details_pending(job):
        due = old.settle_until if old.settle_until is not None else now + policy.settle
        if now < due:
            state = replace(state, job=job, settle_until=due)
            return Change(state=state, job=job, drafts=tuple(drafts))

    failed = frozenset(job.failed_pairs())
    newly = failed - state.announced - state.silent
    final_has_them = ends and job.status == Status.FAILED
    announced = state.announced
    if newly and not final_has_them:
        drafts.append(_draft(EventType.APPLIANCE_FAILED, state, pairs=newly, new=newly))
        announced |= newly
    if warning := _overdue(state, job, now=now, controller_now=controller_now, policy=policy):
        drafts.append(warning)
    if ends:
        drafts.append(
            _draft(
                _FINAL[Status(job.status)],
                state,
                pairs=failed,
                new=failed - announced,
                details_pending=final_has_them and _details_pending(job),
            )
        )
    state = replace(
        state,
        announced=announced | failed if ends else announced,
        silent=_NO_PAIRS if ends else state.silent,
        announced_final=job.status if ends else old.announced_final,
        watch_until=_watch_until(job, now, controller_now, policy) if ends else old.watch_until,
        overdue_announced=old.overdue_announced or warning is not None,
    )
    return Change(state=state, job=job, drafts=tuple(drafts))


def _next_state(old: JobState, job: Job, *, now: float) -> JobState:
    """Return the observed state, before its events. A pair seen not failed may be announced again later."""
    outcomes = job.outcomes()

    def still(pairs: frozenset[Pair]) -> frozenset[Pair]:
        return frozenset(p for p in pairs if outcomes.get(p, Outcome.FAILED) is Outcome.FAILED)

    changed = old.job.status != job.status
    started = changed and job.status == Status.IN_PROGRESS
    return replace(
        old,
        revision=old.revision + 1,
        job=compact(job),
        announced=still(old.announced),
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


def _keep_known_times(old: Job, job: Job) -> Job:
    """Keep the known times of this run that the controller leaves out now."""

    def known(after: int | None, before: int | None) -> int | None:
        return before if after is None else after

    return replace(
        job,
        creation_time=known(job.creation_time, old.creation_time),
        push_time=known(job.push_time, old.push_time),
        completion_time=known(job.completion_time, old.completion_time),
    )


def _details_pending(job: Job) -> bool:
    """Return True if details are missing: a row has no result, or there are neither rows nor an error."""
    return job.unfinished_rows or (not job.rows and not job.error_text)


def _watch_until(job: Job, now: float, controller_now: float, policy: PollPolicy) -> float | None:
    """Return None for a job that ended long ago: old jobs of a first run are not looked up again."""
    ended = job.completion_time
    incomplete = job.status == Status.FAILED and _details_pending(job)
    if ended is not None and controller_now - ended > policy.watch and not incomplete:
        return None
    return now + policy.watch


def _overdue(
    state: JobState, job: Job, *, now: float, controller_now: float, policy: PollPolicy
) -> EventDraft | None:
    limit = policy.overdue.get((job.operation or "").lower())
    if limit is None or state.overdue_announced or job.status != Status.IN_PROGRESS:
        return None
    running = now - state.started_at if state.started_at is not None else 0.0
    if job.push_time is not None:
        running = max(running, controller_now - job.push_time)
    return _draft(EventType.JOB_OVERDUE, state) if running > limit else None


def compact(job: Job) -> Job:
    """Return the job as the snapshot keeps it: rows without their texts."""
    if not any(row.error_text for row in job.rows):
        return job
    return replace(job, rows=tuple(replace(row, error_text=None) for row in job.rows))


def _differs(old: JobState, change: Change) -> bool:
    return bool(change.drafts) or replace(change.state, revision=old.revision) != old
