"""The requests of one poll: open jobs, new jobs, by id what fell out, and now and then a full list.

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
"""How many jobs that a filter seems to have missed are looked up before it is believed."""


class RequestResult(Struct, frozen=True, kw_only=True):
    """What came of asking, besides the observations themselves."""

    listed: frozenset[str] | None = None
    """The uids of a full list."""
    filters: str
    """What is believed of the filters now: see ``ControllerMeta.filters``."""
    gone: frozenset[str] = frozenset()
    """Jobs that the controller no longer has."""
    proven: bool = False
    """Whether the filters were held against a full list in this poll."""


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
    """Queued, then InProgress, then new: a job that moves on in between is still in a later one."""
    return [
        await source.list_jobs(status=Status.QUEUED),
        await source.list_jobs(status=Status.IN_PROGRESS),
        await source.list_jobs(after=after),
    ]


async def _prove(
    source: JobSource, known: KnownJobs, observations: Observations, listed: frozenset[str]
) -> tuple[str, bool]:
    """What to believe of the filters, and whether they were proven at all."""
    try:
        return await _compare_with_list(source, known, observations, listed), True
    except ControllerError as error:
        # The full list stands all the same. Credentials that are refused will show in the next one.
        _log.warning("filters.unproven", error=str(error))
        return "unproven", False


async def _compare_with_list(
    source: JobSource, known: KnownJobs, observations: Observations, listed: frozenset[str]
) -> str:
    """Hold the filters against the full list that was just taken in."""
    created = {uid: _creation_time(known, observations, uid) for uid in listed}
    waiting = frozenset(uid for uid in listed if _is_waiting(known, observations, uid))
    identities = {job.uid: job for job in known.identities()} | {job.uid: job for job in observations.discovered()}
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
    """Whether the job is still as the full list had it, and did not just move on between two requests."""
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
    """Look up each by its id; returns those that are gone."""
    limit = asyncio.Semaphore(PARALLEL)

    async def one(uid: str) -> ListedJob | None:
        async with limit:
            return await source.get_job(known.by_uid[uid].id)

    answers = await asyncio.gather(*(one(uid) for uid in missing), return_exceptions=True)
    gone = set()
    for uid, answer in zip(missing, answers, strict=True):
        match answer:
            case JobNotFound():
                gone.add(uid)
            case ControllerError():
                _log.warning("job.lookup_failed", job=uid, error=str(answer))
            case BaseException():
                raise answer
            case None:
                pass
            case item:
                await observations.add([item])
                if uid not in observations.seen and item.digest not in observations.malformed:
                    gone.add(uid)
    return frozenset(gone)
