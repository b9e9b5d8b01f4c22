"""The observations of one poll: the known jobs that were seen, and the new state of changed ones.

An item whose bytes are known costs a dictionary look-up. Only the others are decoded, and thousands of them
delay nothing else. A job that is seen twice in different states, because it moved between two requests of a
poll, gives two observations, in order.
"""

from collections.abc import Callable, Iterable, Mapping

import structlog
from msgspec.structs import replace

from cmc_notify.core.job_filters import Identity, new_uid, resolve
from cmc_notify.core.model import Job
from cmc_notify.errors import MalformedJob
from cmc_notify.poller.memory import KnownJobs
from cmc_notify.poller.time_slices import TimeSlices
from cmc_notify.ports import ListedJob

_log = structlog.get_logger(__name__)


class Observations:
    """Collects the responses of one poll."""

    def __init__(self, known: KnownJobs, clean: Callable[[Job], Job], malformed: dict[bytes, str]) -> None:
        """``clean`` redacts a job; ``malformed`` remembers, from poll to poll, what could not be read."""
        self._known = known
        self._clean = clean
        self._fresh: dict[int, list[Identity]] = {}
        self._this_poll: dict[bytes, str] = {}
        self.malformed = malformed
        self.unreadable: set[bytes] = set()
        """The digests in ``malformed`` that this poll has met."""
        self.seen: set[str] = set()
        self.changed: dict[str, list[Job]] = {}
        self.digests: dict[str, bytes] = {}

    async def add(self, items: Iterable[ListedJob]) -> frozenset[str]:
        """Add the items of one response, in the order of the responses; returns the uids of its jobs."""
        shown = set()
        slices = TimeSlices()
        for item in items:
            uid = self._this_poll.get(item.digest) or self._known.uid_of(item.digest)
            if uid is None or self.digests.get(uid, item.digest) != item.digest:  # or back to what it was
                await slices.yield_if_due()
                uid = self._decode(item, uid)
            if uid is not None:
                shown.add(uid)
        self.seen |= shown
        return frozenset(shown)

    def new(self, uid: str) -> bool:
        """Return True if this poll discovered the job."""
        return uid not in self._known.by_uid

    def discovered(self) -> list[Identity]:
        """Return the jobs that this poll discovered, the oldest first, numbered as their commit will."""
        fresh = {identity.uid: identity for group in self._fresh.values() for identity in group}
        ordered = first_seen_order(fresh, self.changed)
        first = self._known.discovered + 1
        return [replace(fresh[uid], discovered=number) for number, uid in enumerate(ordered, first)]

    def job_id(self, uid: str) -> int:
        """Return the controller's id for a job that was seen or is known."""
        return self.changed[uid][-1].id if uid in self.changed else self._known.by_uid[uid].id

    def _decode(self, item: ListedJob, known_as: str | None) -> str | None:
        if item.digest in self.malformed:
            self.unreadable.add(item.digest)
            return None
        try:
            job = self._clean(item.decode())
        except MalformedJob as error:
            self.unreadable.add(item.digest)
            self.malformed[item.digest] = f"job {'?' if error.job_id is None else error.job_id}: {error}"
            _log.warning("job.malformed", job_id=error.job_id, error=str(error))
            return None
        uid = known_as or self._resolve(job)
        self._this_poll[item.digest] = uid
        self.changed.setdefault(uid, []).append(job)
        self.digests[uid] = item.digest
        return uid

    def _resolve(self, job: Job) -> str:
        same = [*self._known.same_id(job.id), *self._fresh.get(job.id, ())]
        if uid := resolve(same, job.creation_time):
            return uid
        uid = new_uid(job, {identity.uid for identity in same})
        found = self._known.discovered + 1 + sum(map(len, self._fresh.values()))
        self._fresh.setdefault(job.id, []).append(Identity(uid, job.id, job.creation_time, found))
        return uid


def first_seen_order(uids: Iterable[str], changed: Mapping[str, list[Job]]) -> list[str]:
    """Sort new jobs, the oldest first, so that the most recently discovered are the youngest."""
    return sorted(uids, key=lambda uid: changed[uid][-1].creation_time or 0)
