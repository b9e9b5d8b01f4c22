"""What a poller keeps in memory between polls; all of it stands in the store too."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from cmc_notify.core.job_filters import Identity
from cmc_notify.core.model import JobState, Status
from cmc_notify.ports import KnownJob, PollCommit


class KnownJobs:
    """The light index of a controller's snapshot: what the poller keeps in memory of each job."""

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
        """Add a job, or replace what was known of it."""
        before = self.by_uid.get(job.uid)
        if before is not None and before.digest != job.digest:
            self._by_digest.pop(before.digest, None)
        self.by_uid[job.uid] = job
        self._by_digest[job.digest] = job.uid
        identity = Identity(job.uid, job.id, job.creation_time, job.discovered)
        self._by_id.setdefault(job.id, {})[job.uid] = identity
        self.discovered = max(self.discovered, job.discovered)

    def uid_of(self, digest: bytes) -> str | None:
        """The job that looks exactly so."""
        return self._by_digest.get(digest)

    def same_id(self, job_id: int) -> list[Identity]:
        """The known jobs that had this id."""
        return list(self._by_id.get(job_id, {}).values())

    def identities(self) -> list[Identity]:
        """All of them."""
        return [identity for group in self._by_id.values() for identity in group.values()]


class Memory:
    """What the poller keeps between polls; all of it stands in the store too."""

    def __init__(self, version: int, known: KnownJobs, states: dict[str, JobState]) -> None:
        self.version = version
        self.known = known
        self.states = states
        """The jobs that are open, settling or watched."""

    def wanted(self, now: float) -> list[str]:
        """The jobs that each poll must see."""
        return [
            uid
            for uid, state in self.states.items()
            if state.open or (not state.vanished and (state.watch_until or 0) > now)
        ]

    def apply(self, commit: PollCommit) -> None:
        """Follow a commit."""
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
        self.known.waiting = {uid for uid, state in self.states.items() if waits(state)}

    def same_but_other_bytes(self, uids: Iterable[str], digests: Mapping[str, bytes]) -> None:
        """Jobs whose bytes differ and whose meaning does not: know them by the new bytes."""
        for uid in uids:
            self.known.put(replace(self.known.by_uid[uid], digest=digests[uid]))


def waits(state: JobState) -> bool:
    """Whether the controller's lists by status should show the job."""
    return state.job.status in (Status.QUEUED, Status.IN_PROGRESS)
