"""The poller's memory between polls; all of it is in the store too."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from cmc_notify.core.job_filters import Identity
from cmc_notify.core.model import JobState, Status
from cmc_notify.ports import KnownJob, PollCommit


class KnownJobs:
    """The light index of a controller's snapshot: a few fields of each job."""

    def __init__(self, known: Iterable[KnownJob]) -> None:
        self.by_uid: dict[str, KnownJob] = {}
        self._by_id: dict[int, dict[str, Identity]] = {}
        self._by_digest: dict[bytes, str] = {}
        self.discovered = 0
        self.waiting: set[str] = set()
        """The jobs that were Queued or InProgress when last seen."""
        for job in known:
            self.put(job)

    def put(self, job: KnownJob) -> None:
        """Add a job, or replace its entry."""
        before = self.by_uid.get(job.uid)
        if before is not None and before.digest != job.digest:
            self._by_digest.pop(before.digest, None)
        self.by_uid[job.uid] = job
        self._by_digest[job.digest] = job.uid
        identity = Identity(job.uid, job.id, job.creation_time, job.discovered)
        self._by_id.setdefault(job.id, {})[job.uid] = identity
        self.discovered = max(self.discovered, job.discovered)

    def uid_of(self, digest: bytes) -> str | None:
        """Return the uid of the job with exactly these bytes, or None."""
        return self._by_digest.get(digest)

    def same_id(self, job_id: int) -> list[Identity]:
        """Return the known jobs that had this id."""
        return list(self._by_id.get(job_id, {}).values())

    def identities(self) -> list[Identity]:
        """Return all known jobs."""
        return [identity for group in self._by_id.values() for identity in group.values()]


class Memory:
    """The poller's state between polls; all of it is in the store too."""

    def __init__(self, version: int, known: KnownJobs, states: dict[str, JobState]) -> None:
        self.version = version
        self.known = known
        self.states = states
        """The jobs that are open, settling or watched."""

    def wanted(self, now: float) -> list[str]:
        """Return the uids of the jobs that each poll must see."""
        return [
            uid
            for uid, state in self.states.items()
            if state.open or (not state.vanished and (state.watch_until or 0) > now)
        ]

    def apply(self, commit: PollCommit) -> None:
        """Update the memory with a commit that was written."""
        now = commit.meta.last_attempt_at or 0.0
        for saved in commit.jobs:
            state, before = saved.state, self.known.by_uid.get(saved.state.uid)
            self.known.put(
                KnownJob(
                    uid=state.uid,
                    id=state.job.id,
                    creation_time=state.job.creation_time,
                    digest=saved.digest,
                    open=state.open,
                    watch_until=state.watch_until,
                    discovered=before.discovered if before else self.known.discovered + 1,
                )
            )
            self.states[state.uid] = state
        kept = set(self.wanted(now))
        self.states = {uid: state for uid, state in self.states.items() if uid in kept}
        self.known.waiting = {uid for uid, state in self.states.items() if is_waiting(state)}

    def update_digests(self, uids: Iterable[str], digests: Mapping[str, bytes]) -> None:
        """Store new digests for jobs whose bytes differ and whose meaning does not."""
        for uid in uids:
            self.known.put(replace(self.known.by_uid[uid], digest=digests[uid]))


def is_waiting(state: JobState) -> bool:
    """Return True if the controller's lists by status should show the job."""
    return state.job.status in (Status.QUEUED, Status.IN_PROGRESS)
