"""The filters of a controller's job list: the cutoff to request, and the proof that filters work.

The vendor's page does not say which time ``after`` compares with, or whether it includes the bound, and not
every controller honours every filter. A full list is the reference: filters that would have missed a job in
it are not used until they are proven again.
"""

from collections.abc import Collection, Sequence

from msgspec import Struct

from cmc_notify.core.model import Job

OVERLAP = 600
"""Seconds: jobs may appear out of order, so each poll looks back this far from the newest."""

RECENT = 20
"""Each poll also goes back to the oldest of this many most recently discovered jobs."""


class Identity(Struct, frozen=True):
    """The identity of a job: its id, and its creation time if known."""

    uid: str
    id: int
    creation_time: int | None
    discovered: int
    """Grows with each newly discovered job."""


def cutoff(known: Collection[Identity]) -> int | None:
    """Return the ``after`` of the next poll, on the controller's clock; None if no creation time is known.

    It is one second early, as the bound may be exclusive.
    """
    created = [job.creation_time for job in known if job.creation_time is not None]
    if not created:
        return None
    recent = sorted(known, key=lambda job: job.discovered, reverse=True)[:RECENT]
    oldest_recent = min((job.creation_time for job in recent if job.creation_time is not None), default=None)
    bound = max(created) - OVERLAP
    return min(bound, oldest_recent if oldest_recent is not None else bound) - 1


def resolve(same_id: Sequence[Identity], creation_time: int | None) -> str | None:
    """Return the uid of the known job that an observed job is, among those with its id; None for a new job.

    An id names another job only if both creation times are known and differ.
    """
    for job in same_id:
        if job.creation_time is not None and job.creation_time == creation_time:
            return job.uid
    possible = [job for job in same_id if job.creation_time is None or creation_time is None]
    return max(possible, key=lambda job: job.discovered).uid if possible else None


def new_uid(job: Job, taken: Collection[str]) -> str:
    """Return a permanent name: the id, and the creation time if known."""
    base = f"{job.id}-{'x' if job.creation_time is None else job.creation_time}"
    uid, n = base, 1
    while uid in taken:
        n += 1
        uid = f"{base}-{n}"
    return uid


class FilterProof(Struct, frozen=True, kw_only=True):
    """The jobs that filtered lists showed just after a full list, by uid."""

    created: dict[str, int | None]
    """Every job of the full list, with its creation time."""
    waiting: frozenset[str]
    """Those of them that were Queued or InProgress."""
    by_status: frozenset[str]
    """The jobs in the lists of Queued and of InProgress jobs."""
    by_time: frozenset[str]
    """The jobs in the list of jobs ``after``."""
    after: int | None

    def missed(self) -> list[str]:
        """Return the jobs that a filtered poll should have shown and did not."""
        shown = self.by_status | self.by_time
        return [
            uid
            for uid, creation_time in self.created.items()
            if uid not in shown and (uid in self.waiting or self._is_recent(creation_time))
        ]

    def ignored(self) -> bool:
        """Return True if a filter returns every job, so that one unfiltered list costs less."""
        everything = self.created.keys()
        if len(self.waiting) < len(everything) and everything <= self.by_status:
            return True
        some_old = any(not self._is_recent(time) for time in self.created.values())
        return some_old and everything <= self.by_time

    def _is_recent(self, creation_time: int | None) -> bool:
        return self.after is None or creation_time is None or creation_time > self.after
