"""The commit of one poll: the new state of the controller and its jobs, and all events about them."""

from msgspec.structs import replace

from cmc_notify.core.event_builder import EventBuilder
from cmc_notify.core.events import EventType
from cmc_notify.core.model import STATUSES, JobState
from cmc_notify.poller.memory import Memory
from cmc_notify.poller.observations import Observations, first_seen_order
from cmc_notify.poller.requests import RequestResult
from cmc_notify.ports import ControllerMeta, PollCommit, SavedJob


def meta_after(
    meta: ControllerMeta, observations: Observations, requests: RequestResult, now: float
) -> ControllerMeta:
    """Return the controller's record after a successful poll."""
    unreadable = observations.unreadable if requests.listed is not None else observations.malformed
    return replace(
        meta,
        first_run_done=True,
        last_poll_at=now,
        last_attempt_at=now,
        last_error=None,
        failed_polls=0,
        failing_since=None,
        unreachable_since=None,
        unauthorized_since=None,
        silenced_by=None,
        last_full_sync=now if requests.listed is not None else meta.last_full_sync,
        filters=requests.filters,
        malformed=tuple(sorted(observations.malformed[digest] for digest in unreadable)),
        unknown_statuses=tuple(sorted({*meta.unknown_statuses, *_unknown_statuses(observations)})),
    )


def meta_after_failure(meta: ControllerMeta, error: Exception, now: float) -> ControllerMeta:
    """Return the controller's record after a failed poll, before any event about it."""
    return replace(
        meta,
        last_attempt_at=now,
        last_error=str(error),
        failed_polls=meta.failed_polls + 1,
        failing_since=meta.failing_since or now,
    )


def meta_after_outage(meta: ControllerMeta, outage: EventType, silenced_by: str | None) -> ControllerMeta:
    """Return the controller's record once its outage is announced.

    ``silenced_by`` stays set only if every event of the outage was silenced: then its end is silenced too.
    """
    unauthorized = outage is EventType.CONTROLLER_UNAUTHORIZED
    first = meta.unreachable_since is None and meta.unauthorized_since is None
    return replace(
        meta,
        unreachable_since=meta.unreachable_since if unauthorized else meta.failing_since,
        unauthorized_since=meta.failing_since if unauthorized else meta.unauthorized_since,
        silenced_by=silenced_by if first or meta.silenced_by else None,
    )


def commit_of_poll(
    controller: str,
    memory: Memory,
    meta: ControllerMeta,
    builder: EventBuilder,
    *,
    observations: Observations,
    requests: RequestResult,
) -> PollCommit:
    """Return the commit of a successful poll: known jobs first, then new ones as they were discovered."""
    new = first_seen_order((uid for uid in builder.states if observations.new(uid)), observations.changed)
    order = [*(uid for uid in builder.states if not observations.new(uid)), *new]
    jobs = tuple(
        SavedJob(builder.states[uid], _digest(builder.states[uid], observations, memory)) for uid in order
    )
    return replace(_base_commit(controller, memory, meta, builder), jobs=jobs, listed=requests.listed)


def commit_of_failure(
    controller: str, memory: Memory, meta: ControllerMeta, builder: EventBuilder
) -> PollCommit:
    """Return the commit of a failed poll: no job was seen, so each keeps its digest."""
    jobs = tuple(SavedJob(state, memory.known.by_uid[uid].digest) for uid, state in builder.states.items())
    return replace(_base_commit(controller, memory, meta, builder), jobs=jobs)


def _base_commit(controller: str, memory: Memory, meta: ControllerMeta, builder: EventBuilder) -> PollCommit:
    return PollCommit(
        controller=controller,
        expected_version=memory.version,
        meta=meta,
        events=tuple(builder.events),
        deliveries=tuple(builder.deliveries),
        failures=builder.failures,
        ended_silences=tuple(builder.ended_silences),
        event_uids=builder.event_uids,
    )


def _unknown_statuses(observations: Observations) -> set[str]:
    return {
        job.status for steps in observations.changed.values() for job in steps if job.status not in STATUSES
    }


def _digest(state: JobState, observations: Observations, memory: Memory) -> bytes:
    """Return the digest that the state was read from; empty for a job that is gone, to see its return."""
    if state.vanished:
        return b""
    return observations.digests.get(state.uid) or memory.known.by_uid[state.uid].digest
