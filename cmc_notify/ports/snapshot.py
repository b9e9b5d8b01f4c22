"""What the poller reads and commits, and who may poll."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.events import Event
from cmc_notify.core.model import JobState, Pair, TrackedFailure
from cmc_notify.core.silences import Silence


class KnownJob(Struct, frozen=True, kw_only=True):
    """The light index entry of a job in the snapshot."""

    uid: str
    id: int
    creation_time: int | None
    digest: bytes
    open: bool
    watch_until: float | None
    discovered: int
    """Grows with each newly discovered job of the controller."""


class ControllerMeta(Struct, frozen=True, kw_only=True):
    """What is remembered about a controller besides its jobs. Times are ours, Unix seconds."""

    first_run_done: bool = False
    last_poll_at: float | None = None
    """When a poll last went through."""
    last_attempt_at: float | None = None
    last_error: str | None = None
    failed_polls: int = 0
    """In a row."""
    failing_since: float | None = None
    """When the first of them was."""
    unreachable_since: float | None = None
    """Set while ``controller.unreachable`` stands told."""
    unauthorized_since: float | None = None
    """Set while ``controller.unauthorized`` stands told."""
    silenced_by: str | None = None
    """The silences that kept all that stands told of the outage from everybody: then so is its end."""
    last_full_sync: float | None = None
    filters: str = "unproven"
    """``proven``, ``ignored`` (one unfiltered list per poll is enough) or ``incomplete`` (they miss jobs)."""
    malformed: tuple[str, ...] = ()
    """Jobs of the last full list that could not be read, one line each."""
    unknown_statuses: tuple[str, ...] = ()
    """Statuses outside the vendor's list that were reported."""


class Snapshot(Struct, frozen=True):
    """A controller as last committed. ``version`` grows with each commit and guards the next one."""

    version: int
    meta: ControllerMeta
    known: tuple[KnownJob, ...]


class SavedJob(Struct, frozen=True):
    """A job state to be written, with the digest of the bytes that it was read from."""

    state: JobState
    digest: bytes


class Fence(Struct, frozen=True):
    """Proof of leadership. ``token`` grows with each change of the leader, so an older one tells itself.

    A database that failed over may have lost the last change, and give its token out again: to another owner.
    """

    name: str
    token: int
    owner: str


class Replicas(Struct, frozen=True, kw_only=True):
    """Which replicas are there, and who leads what, at one moment of the store's clock."""

    candidates: Mapping[str, frozenset[str]]
    """By the owner's name, what that replica would lead."""
    leaders: Mapping[str, str]
    """The owner by what it leads."""


class PollCommit(Struct, frozen=True, kw_only=True):
    """All that one poll found, written in one transaction or not at all."""

    controller: str
    expected_version: int
    meta: ControllerMeta
    jobs: tuple[SavedJob, ...] = ()
    events: tuple[Event, ...] = ()
    deliveries: tuple[NewDelivery, ...] = ()
    failures: tuple[TrackedFailure, ...] = ()
    """Opened, changed and closed ones, whole; written over by ``id``."""
    listed: frozenset[str] | None = None
    """After a full list: the uids that it showed. Others may be forgotten once retention allows."""
    event_uids: Mapping[str, tuple[str, int]] = {}
    """Event id to (job uid, revision), for events about a job; makes (uid, revision, type) unique."""
    ended_silences: tuple[str, ...] = ()
    """Silences that end with their job."""
    fence: Fence | None = None
    """The leadership under which the controller was polled: once another leads, nothing is written."""


class PollStore(Protocol):
    """What the poller needs. Every method raises StoreUnavailable."""

    async def load_snapshot(self, controller: str) -> Snapshot:
        """The last commit; version 0 and empty for a controller never seen."""
        ...

    async def load_states(self, controller: str, uids: Collection[str]) -> dict[str, JobState]:
        """Whole states by uid; unknown uids are left out."""
        ...

    async def states_after(self, controller: str, order: tuple[int, int]) -> Sequence[JobState]:
        """States of the jobs whose ``job.order`` is greater than ``order`` and that have been pushed."""
        ...

    async def load_failures(self, controller: str, pairs: Collection[Pair]) -> Sequence[TrackedFailure]:
        """All open incidents of the controller, and of each of ``pairs`` the newest closed one."""
        ...

    async def load_silences(self, controller: str, *, now: float) -> Sequence[Silence]:
        """The silences that act now and could concern the controller."""
        ...

    async def commit_poll(self, commit: PollCommit) -> int:
        """Write it all and return the new version; raises StaleSnapshot and then writes nothing."""
        ...


class Leadership(Protocol):
    """Which replica does what only one may do at a time. Every method raises StoreUnavailable.

    Times run by the store's clock, which replicas share; ``ttl`` is in seconds.
    """

    async def acquire(self, name: str, *, owner: str, ttl: float) -> Fence | None:
        """Lead ``name`` for ``ttl``; None while another does. ``owner`` must differ between processes,
        also between two starts of one; who leads already goes on under the same fence.
        """
        ...

    async def renew(self, fence: Fence, *, ttl: float) -> bool:
        """Lead for ``ttl`` from now on; False where another has taken over, or we gave up."""
        ...

    async def release(self, fence: Fence) -> None:
        """Let another lead at once; nothing happens where one does already."""
        ...

    async def register(self, owner: str, names: Collection[str], *, ttl: float) -> Replicas:
        """Say that we are there for ``ttl`` and would lead ``names``; returns who else is, and who leads.

        Who has not said so for the ``ttl`` that it gave is there no longer; nor is who seems to be for more
        than twice ours, nor leads: the store's clock was set back.
        """
        ...

    async def unregister(self, owner: str) -> None:
        """Be there no longer, at once; what we lead has to be released by itself."""
        ...

    async def leaders(self) -> Mapping[str, str]:
        """The owner by what it leads; what nobody leads now is left out."""
        ...
