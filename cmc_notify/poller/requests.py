"""The requests of one poll: open jobs, new jobs, missing jobs by id, and sometimes a full list.

A list that fails fails the poll; a look-up by id that fails, for whatever reason, delays that job only.
"""

import asyncio
from collections.abc import Collection, Sequence

import structlog
from msgspec import Struct

from cmc_notify.core.job_filters import FilterProof, cutoff
from cmc_notify.core.model import Status
from cmc_notify.errors import ControllerError, JobNotFound, MalformedJob
from cmc_notify.poller.memory import KnownJobs
from cmc_notify.poller.observations import Observations
from cmc_notify.ports import JobSource, ListedJob

_log = structlog.get_logger(__name__)

PARALLEL = 8
"""Look-ups by id at a time."""

SAMPLE = 5
"""Jobs looked up, of those that a filter seems to have missed, before that is believed."""


class RequestResult(Struct, frozen=True, kw_only=True):
    """The result of a poll's requests, except the observations themselves."""

    listed: frozenset[str] | None = None
    """The uids of a full list."""
    filters: str
    """The trust in the filters now: see ``ControllerMeta.filters``."""
    gone: frozenset[str] = frozenset()
    """Jobs that the controller no longer has."""
    proven: bool = False
    """True if this poll compared the filters with a full list."""


async def request_jobs(
    source: JobSource,
    known: KnownJobs,
    observations: Observations,
    wanted: Collection[str],
    *,
    filters: str,
    full: bool,
) -> RequestResult:
    """Fill ``observations``. ``wanted`` names the jobs that must be seen, by id if no list shows them.

    ``full`` asks for a full list and proves the filters; without trusted filters each poll is a full list.
    Raises ControllerUnreachable or Unauthorized.
    """
    if full or filters != "proven":
        listed = await observations.add(await source.list_jobs())
        proven = False
        if full or filters == "unproven":
            filters, proven = await _prove(source, known, observations, listed)
    else:
        listed = None
        proven = False
        for items in await _filtered(source, cutoff(known.identities())):
            await observations.add(items)
    missing = [uid for uid in wanted if uid not in observations.seen]
    gone = await _look_up(source, known, observations, missing)
    return RequestResult(listed=listed, filters=filters, gone=gone, proven=proven)


async def _filtered(source: JobSource, after: int | None) -> list[Sequence[ListedJob]]:
    """List Queued, then InProgress, then new jobs: one that moves on in between is in a later list."""
    return [
        await source.list_jobs(status=Status.QUEUED),
        await source.list_jobs(status=Status.IN_PROGRESS),
        await source.list_jobs(after=after),
    ]


async def _prove(
    source: JobSource, known: KnownJobs, observations: Observations, listed: frozenset[str]
) -> tuple[str, bool]:
    """Return the trust in the filters, and True if they were compared."""
    try:
        return await _compare_with_list(source, known, observations, listed), True
    except ControllerError as error:
        # The full list stays valid. Refused credentials will show in the next poll.
        _log.warning("filters.unproven", error=str(error))
        return "unproven", False


async def _compare_with_list(
    source: JobSource, known: KnownJobs, observations: Observations, listed: frozenset[str]
) -> str:
    """Compare the filters with the full list that was just added."""
    created = {uid: _creation_time(known, observations, uid) for uid in listed}
    waiting = frozenset(uid for uid in listed if _is_waiting(known, observations, uid))
    identities = {job.uid: job for job in known.identities()} | {
        job.uid: job for job in observations.discovered()
    }
    after = cutoff([identities[uid] for uid in listed])
    queued, running, recent = await _filtered(source, after)
    proof = FilterProof(
        created=created,
        waiting=waiting,
        by_status=await observations.add(queued) | await observations.add(running),
        by_time=await observations.add(recent),
        after=after,
    )
    if proof.ignored():
        return "ignored"
    for uid in proof.missed()[:SAMPLE]:
        if await _is_missed(source, observations, uid, waiting=uid in waiting, known=known):
            _log.warning("filters.incomplete", job=uid, after=after)
            return "incomplete"
    return "proven"


async def _is_missed(
    source: JobSource, observations: Observations, uid: str, *, waiting: bool, known: KnownJobs
) -> bool:
    """Return True if the job is still as in the full list, and did not just move on."""
    try:
        await observations.add([await source.get_job(observations.job_id(uid))])
    except (JobNotFound, MalformedJob):
        return False
    return not waiting or _is_waiting(known, observations, uid)


def _creation_time(known: KnownJobs, observations: Observations, uid: str) -> int | None:
    if uid in observations.changed:
        return observations.changed[uid][-1].creation_time
    return known.by_uid[uid].creation_time


def _is_waiting(known: KnownJobs, observations: Observations, uid: str) -> bool:
    if uid in observations.changed:
        return observations.changed[uid][-1].status in (Status.QUEUED, Status.IN_PROGRESS)
    return uid in known.waiting


async def _look_up(
    source: JobSource, known: KnownJobs, observations: Observations, missing: Sequence[str]
) -> frozenset[str]:
    """Look up each job by its id; returns those that are gone."""
    limit = asyncio.Semaphore(PARALLEL)

    async def one(uid: str) -> ListedJob | None:
        async with limit:
            return await source.get_job(known.by_uid[uid].id)

    responses = await asyncio.gather(*(one(uid) for uid in missing), return_exceptions=True)
    gone = set()
    for uid, response in zip(missing, responses, strict=True):
        match response:
            case JobNotFound():
                gone.add(uid)
            case ControllerError():
                _log.warning("job.lookup_failed", job=uid, error=str(response))
            case BaseException():
                raise response
            case None:
                pass
            case item:
                await observations.add([item])
                if uid not in observations.seen and item.digest not in observations.malformed:
                    gone.add(uid)
    return frozenset(gone)
