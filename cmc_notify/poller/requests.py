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
    """What came of asking, besides the looks themselves."""

    listed: frozenset[str] | None = None
    """The uids of a full list."""
    filters: str
    """What is believed of the filters now: see ``ControllerMeta.filters``."""
    gone: frozenset[str] = frozenset()
    """Jobs that the controller no longer has."""
    proven: bool = False
    """Whether the filters were held against a full list in this poll."""


async def ask(
    source: JobSource,
    known: KnownJobs,
    looks: Observations,
    wanted: Collection[str],
    *,
    filters: str,
    full: bool,
) -> RequestResult:
    """Fill ``looks``. ``wanted`` names the jobs that must be seen, by id if no list shows them.

    ``full`` asks for a full list and proves the filters; without trusted filters each poll is a full list.
    Raises ControllerUnreachable or Unauthorized.
    """
    if full or filters != "proven":
        listed = await looks.add(await source.list_jobs())
        proven = False
        if full or filters == "unproven":
            filters, proven = await _prove(source, known, looks, listed)
    else:
        listed = None
        proven = False
        for items in await _filtered(source, cutoff(known.identities())):
            await looks.add(items)
    missing = [uid for uid in wanted if uid not in looks.seen]
    gone = await _look_up(source, known, looks, missing)
    return RequestResult(listed=listed, filters=filters, gone=gone, proven=proven)


async def _filtered(source: JobSource, after: int | None) -> list[Sequence[ListedJob]]:
    """Queued, then InProgress, then new: a job that moves on in between is still in a later one."""
    return [
        await source.list_jobs(status=Status.QUEUED),
        await source.list_jobs(status=Status.IN_PROGRESS),
        await source.list_jobs(after=after),
    ]


async def _prove(
    source: JobSource, known: KnownJobs, looks: Observations, listed: frozenset[str]
) -> tuple[str, bool]:
    """What to believe of the filters, and whether they were proven at all."""
    try:
        return await _held_against(source, known, looks, listed), True
    except ControllerError as error:
        # The full list stands all the same. Credentials that are refused will show in the next one.
        _log.warning("filters.unproven", error=str(error))
        return "unproven", False


async def _held_against(
    source: JobSource, known: KnownJobs, looks: Observations, listed: frozenset[str]
) -> str:
    """Hold the filters against the full list that was just taken in."""
    created = {uid: _creation_time(known, looks, uid) for uid in listed}
    waiting = frozenset(uid for uid in listed if _waits(known, looks, uid))
    identities = {job.uid: job for job in known.identities()} | {job.uid: job for job in looks.discovered()}
    after = cutoff([identities[uid] for uid in listed])
    queued, running, recent = await _filtered(source, after)
    proof = FilterProof(
        created=created,
        waiting=waiting,
        by_status=await looks.add(queued) | await looks.add(running),
        by_time=await looks.add(recent),
        after=after,
    )
    if proof.ignored():
        return "ignored"
    for uid in proof.missed()[:SAMPLE]:
        if await _really_missed(source, looks, uid, waiting=uid in waiting, known=known):
            _log.warning("filters.incomplete", job=uid, after=after)
            return "incomplete"
    return "proven"


async def _really_missed(
    source: JobSource, looks: Observations, uid: str, *, waiting: bool, known: KnownJobs
) -> bool:
    """Whether the job is still as the full list had it, and did not just move on between two requests."""
    try:
        await looks.add([await source.get_job(looks.job_id(uid))])
    except (JobNotFound, MalformedJob):
        return False
    return not waiting or _waits(known, looks, uid)


def _creation_time(known: KnownJobs, looks: Observations, uid: str) -> int | None:
    if uid in looks.changed:
        return looks.changed[uid][-1].creation_time
    return known.by_uid[uid].creation_time


def _waits(known: KnownJobs, looks: Observations, uid: str) -> bool:
    if uid in looks.changed:
        return looks.changed[uid][-1].status in (Status.QUEUED, Status.IN_PROGRESS)
    return uid in known.waiting


async def _look_up(
    source: JobSource, known: KnownJobs, looks: Observations, missing: Sequence[str]
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
                await looks.add([item])
                if uid not in looks.seen and item.digest not in looks.malformed:
                    gone.add(uid)
    return frozenset(gone)
