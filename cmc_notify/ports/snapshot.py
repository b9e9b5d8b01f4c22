"""The poller's snapshot, its commits, and the leadership under which it may poll."""

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
    """The stored facts about a controller, except its jobs. Times are on our own clock, Unix seconds."""

    first_run_done: bool = False
    last_poll_at: float | None = None
    """The time of the last poll that succeeded."""
    last_attempt_at: float | None = None
    last_error: str | None = None
    failed_polls: int = 0
    """In a row."""
    failing_since: float | None = None
    """The time of the first of them."""
    unreachable_since: float | None = None
    """Set from ``controller.unreachable`` until the controller has recovered."""
    unauthorized_since: float | None = None
    """Set from ``controller.unauthorized`` until the controller has recovered."""
    silenced_by: str | None = None
    """The silences that hid every event of the present outage: they hide its end too."""
    last_full_sync: float | None = None
    filters: str = "unproven"
    """``unproven``, ``proven``, ``ignored`` (one unfiltered list per poll is enough) or ``incomplete`` (they
    miss jobs).
    """
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
    """Proof of leadership. ``token`` grows with each change of the leader, so an old fence is recognized.

    A database that failed over may have lost the last change. It may then issue the same token again, but
    to another owner.
    """

    name: str
    token: int
    owner: str


class Replicas(Struct, frozen=True, kw_only=True):
    """The registered replicas and the leaders, at one moment of the store's clock."""

    candidates: Mapping[str, frozenset[str]]
    """By owner, the names that this replica would lead."""
    leaders: Mapping[str, str]
    """The leader's owner, by name."""


class PollCommit(Struct, frozen=True, kw_only=True):
    """Everything that one poll found, written in one transaction or not at all."""

    controller: str
    expected_version: int
    meta: ControllerMeta
    jobs: tuple[SavedJob, ...] = ()
    events: tuple[Event, ...] = ()
    deliveries: tuple[NewDelivery, ...] = ()
    failures: tuple[TrackedFailure, ...] = ()
    """Opened, changed and closed failures, whole; each replaces the stored one with its ``id``."""
    listed: frozenset[str] | None = None
    """After a full list: the uids in it. Other jobs may be deleted once retention allows."""
    event_uids: Mapping[str, tuple[str, int]] = {}
    """Event id to (job uid, revision), for events about a job; makes (uid, revision, type) unique."""
    ended_silences: tuple[str, ...] = ()
    """Ids of the silences that end because their job ended."""
    fence: Fence | None = None
    """The leadership of this poll: if another replica leads now, nothing is written."""


class PollStore(Protocol):
    """The poller's store. Every method raises StoreUnavailable."""

    async def load_snapshot(self, controller: str) -> Snapshot:
        """Return the last commit; version 0 and empty for a new controller."""
        ...

    async def load_states(self, controller: str, uids: Collection[str]) -> dict[str, JobState]:
        """Return whole states by uid; unknown uids are left out."""
        ...

    async def states_after(self, controller: str, order: tuple[int, int]) -> Sequence[JobState]:
        """Return states of the pushed jobs whose ``job.order`` is greater than ``order``."""
        ...

    async def load_failures(self, controller: str, pairs: Collection[Pair]) -> Sequence[TrackedFailure]:
        """Return all open failures of the controller, and of each of ``pairs`` the newest closed one."""
        ...

    async def load_silences(self, controller: str, *, now: float) -> Sequence[Silence]:
        """Return the active silences that may match the controller."""
        ...

    async def commit_poll(self, commit: PollCommit) -> int:
        """Write everything and return the new version; raises StaleSnapshot and then writes nothing."""
        ...


class Leadership(Protocol):
    """Leadership for work that only one replica may do at a time. Every method raises StoreUnavailable.

    Times are on the store's clock, which replicas share; ``ttl`` is in seconds.
    """

    async def acquire(self, name: str, *, owner: str, ttl: float) -> Fence | None:
        """Become the leader of ``name`` for ``ttl``; returns None while another replica is.

        ``owner`` must differ between processes, also between two starts of one. A present leader goes on
        under the same fence.
        """
        ...

    async def renew(self, fence: Fence, *, ttl: float) -> bool:
        """Stay leader for ``ttl`` from now on; returns False if another took over, or we released it."""
        ...

    async def release(self, fence: Fence) -> None:
        """Let another replica lead at once; does nothing if another one leads already."""
        ...

    async def register(self, owner: str, names: Collection[str], *, ttl: float) -> Replicas:
        """Register this replica for ``ttl`` as one that would lead ``names``; returns all replicas.

        A replica that has not registered again within its own ``ttl`` counts as gone. So does one whose
        registration or leadership would last more than twice our ``ttl``: the store's clock was set back.
        """
        ...

    async def unregister(self, owner: str) -> None:
        """Remove this replica at once; each leadership has to be released separately."""
        ...

    async def leaders(self) -> Mapping[str, str]:
        """Return the leader's owner by name; a name without a leader is left out."""
        ...
