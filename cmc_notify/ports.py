"""What the services need from the outside, one small protocol for each need.

Adapters (controller, store, sinks, rendering) implement these; ``app`` plugs them together.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from cmc_notify.core.delivery import DeliveryState, NewDelivery, Verdict
from cmc_notify.core.events import Event
from cmc_notify.core.model import Appliance, Feature, Incident, Job, JobState, Pair
from cmc_notify.core.outcome import SendOutcome
from cmc_notify.core.sink_health import SinkNews, SinkStanding

# --- time ---------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Wall-clock time; tests put their own in its place."""

    def __call__(self) -> float:
        """Now, in Unix seconds."""
        ...


# --- the controller -----------------------------------------------------------------------------------


class ListedJob(Protocol):
    """One item of a job list, not yet decoded."""

    @property
    def digest(self) -> bytes:
        """16 bytes that change whenever the item's bytes change."""
        ...

    def decode(self) -> Job:
        """The job; raises MalformedJob (with the id where one can be found)."""
        ...


class JobSource(Protocol):
    """A controller's resources. Every method raises ControllerUnreachable or Unauthorized."""

    @property
    def clock_offset(self) -> float | None:
        """Seconds that the controller's clock is ahead of ours, by its last answer; None if it never said."""
        ...

    async def list_jobs(
        self,
        *,
        status: str | None = None,
        feature_id: int | None = None,
        after: int | None = None,
        before: int | None = None,
    ) -> Sequence[ListedJob]:
        """The job list with the vendor's four filters; ``status`` is sent as given."""
        ...

    async def get_job(self, job_id: int) -> ListedJob:
        """One job by id; raises JobNotFound."""
        ...

    async def cancel_job(self, job_id: int) -> Job:
        """Ask the controller to cancel; returns the job as it answers. Raises JobNotFound."""
        ...

    async def list_features(self, *, name: str | None = None) -> Sequence[Feature]:
        """The features that can be pushed."""
        ...

    async def get_feature(self, feature_id: int) -> Feature | None:
        """One feature by id; None where the controller does not know it."""
        ...

    async def list_appliances(self) -> Sequence[Appliance]:
        """The inventory; empty where this account can't read it or the service is absent."""
        ...

    async def sign_in(self) -> None:
        """Prove that address and credentials are right (``check --online``)."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


# --- the snapshot (what the poller reads and commits) -------------------------------------------------


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
    """Proof of leadership. ``token`` grows with each change of the leader, so an older one tells itself."""

    name: str
    token: int


class PollCommit(Struct, frozen=True, kw_only=True):
    """All that one poll found, written in one transaction or not at all."""

    controller: str
    expected_version: int
    meta: ControllerMeta
    jobs: tuple[SavedJob, ...] = ()
    events: tuple[Event, ...] = ()
    deliveries: tuple[NewDelivery, ...] = ()
    incidents: tuple[Incident, ...] = ()
    """Opened, changed and closed ones, whole; written over by ``id``."""
    listed: frozenset[str] | None = None
    """After a full list: the uids that it showed. Others may be forgotten once retention allows."""
    event_uids: Mapping[str, tuple[str, int]] = {}
    """Event id to (job uid, revision), for events about a job; makes (uid, revision, type) unique."""
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

    async def load_incidents(self, controller: str, pairs: Collection[Pair]) -> Sequence[Incident]:
        """All open incidents of the controller, and of each of ``pairs`` the newest closed one."""
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


# --- the outbox (what the dispatcher claims and records) ----------------------------------------------


class Delivery(Struct, frozen=True, kw_only=True):
    """One row of the ledger. ``parts`` maps each accepted part of the message to its receipt."""

    id: str
    key: str
    event_id: str
    sink: str
    subject: str
    ordering_key: str
    state: DeliveryState
    shown: tuple[int, ...] | None
    attempts: int
    created_at: float
    due_at: float
    deadline_at: float
    leased_until: float | None = None
    finished_at: float | None = None
    last_error: str | None = None
    unclear: bool = False
    """Whether an earlier attempt may have arrived, so that the sink reconciles first."""
    receipt: str | None = None
    parts: dict[str, str] = {}


class Claim(Struct, frozen=True):
    """A delivery that this process may send until its lease ends, with its whole event."""

    delivery: Delivery
    event: Event


class Outbox(Protocol):
    """What the dispatcher needs. Every method raises StoreUnavailable."""

    async def claim(self, sink: str, *, owner: str, limit: int, lease: float) -> Sequence[Claim]:
        """Lease up to ``limit`` due deliveries, the oldest first, at most one per ordering key.

        A delivery behind an unfinished one of the same key, or waiting for another, is not due.
        An expired lease counts as free; its delivery comes back with ``unclear`` set.
        """
        ...

    async def renew(self, delivery_ids: Collection[str], *, owner: str, lease: float) -> frozenset[str]:
        """Lease them for ``lease`` seconds from now on, while they are being sent.

        Returns those that are still ours; any other was finished or taken over, and must not be sent again.
        """
        ...

    async def record_part(self, delivery_id: str, part: str, receipt: str) -> None:
        """Remember that one part of a message was accepted."""
        ...

    async def record(self, delivery_id: str, *, owner: str, verdict: Verdict) -> bool:
        """Write what came of an attempt and end the lease; False where the lease was no longer ours."""
        ...

    async def renew_deadlines(self, sink: str) -> None:
        """The sink takes nothing until an operator acts: what is pending for it keeps, from now on, at
        least half of the time that its delivery was given at first.
        """
        ...

    async def next_due(self, sink: str) -> float | None:
        """When the sink's next delivery can be claimed (a past time: now); None with nothing pending."""
        ...


class Announcements(Protocol):
    """What is told of the sinks themselves. Every method raises StoreUnavailable."""

    async def last_told(self, sink: str) -> SinkStanding:
        """What was last told of the sink; revision 0 where nothing was."""
        ...

    async def tell(self, news: SinkNews) -> bool:
        """Write event and deliveries; False, and nothing is written, where ``news.standing`` does not
        follow what was last told: another replica was first.
        """
        ...


# --- rendering ----------------------------------------------------------------------------------------


class Rendered(Struct, frozen=True):
    """A rendered document. ``fallback`` names template, line and error where the plain message stands in."""

    text: str
    fallback: str | None = None


class Message(Struct, frozen=True, kw_only=True):
    """What a sink is asked to send: one event as one route shows it to one place."""

    key: str
    """Idempotency key, the same on every attempt."""
    event: Event
    """With only the failures or recoveries that the route lets through, and ``url`` signed."""
    subject: str = ""
    attempt: int = 1
    is_test: bool = False
    unclear: bool = False
    """An earlier attempt may have arrived: look before sending again, where that is possible."""
    parts: Mapping[str, str] = {}
    """Parts accepted by earlier attempts, with their receipts: do not send them again."""


class Renderer(Protocol):
    """Turns a message into one document of a medium."""

    def render(self, sink_type: str, extension: str, message: Message, *, brief: bool = False) -> Rendered:
        """Render ``<sink_type>/<event type>.<extension>.j2``, else its default. Never raises for a bad
        template: the plain message takes its place. With ``brief`` only the largest groups of failures
        are shown, each error's beginning, and how many more there are: the sink attaches the whole.
        """
        ...


# --- sinks --------------------------------------------------------------------------------------------

PartRecorder = Callable[[str, str], Awaitable[None]]
"""``await record(part, receipt)`` as soon as the other side has accepted a part of the message."""


class Sink(Protocol):
    """One configured place where people are told. Never raises for what the other side does."""

    @property
    def name(self) -> str:
        """Its name in the config."""
        ...

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """One attempt. The dispatcher bounds its time; a cancelled send leaves nothing half-recorded."""
        ...

    async def probe(self) -> SendOutcome:
        """Test address, credentials and rights without telling anybody anything."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class PreviewDocument(Struct, frozen=True):
    """One thing that would be sent, as text. ``name`` is a file name, such as ``body.json``."""

    name: str
    text: str


@runtime_checkable
class Previewing(Protocol):
    """What a sink may offer besides: to show a message without sending it. It does no I/O."""

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """All that ``send`` would send, with every secret masked."""
        ...


# --- what people ask (CLI, dashboard, HTTP API) -------------------------------------------------------


class OutboxDepth(Struct, frozen=True):
    """One sink's share of the ledger."""

    sink: str
    pending: int
    sent: int
    dead: int
    oldest_pending_at: float | None


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Which deliveries to list; None matches everything. The newest come first."""

    state: DeliveryState | None = None
    sink: str | None = None
    controller: str | None = None
    job_id: int | None = None
    event_id: str | None = None
    limit: int = 50


class LedgerRow(Struct, frozen=True):
    """A delivery with what a reader needs to know of its event."""

    delivery: Delivery
    event_type: str
    event_time: str
    controller: str | None
    job_id: int | None


class Ledger(Protocol):
    """Reads, and the few things that an operator changes by hand. All raise StoreUnavailable."""

    async def snapshots(self) -> Mapping[str, ControllerMeta]:
        """Every controller that the store knows, by name."""
        ...

    async def jobs(
        self, *, controller: str | None = None, open_only: bool = False, limit: int = 50
    ) -> Sequence[tuple[str, JobState]]:
        """(controller, state), the newest first."""
        ...

    async def incidents(self, *, controller: str | None = None, limit: int = 1000) -> Sequence[Incident]:
        """Open incidents, the oldest first."""
        ...

    async def count_incidents(self) -> Mapping[str, int]:
        """Open incidents by controller."""
        ...

    async def close_incident(self, incident_id: str, *, now: float) -> bool:
        """Close by hand (``closed_by`` operator); False where there is no such open incident."""
        ...

    async def deliveries(self, wanted: DeliveryFilter) -> Sequence[LedgerRow]:
        """Rows of the ledger."""
        ...

    async def delivery(self, delivery_id: str) -> LedgerRow | None:
        """One row by delivery id or key."""
        ...

    async def retry(
        self, delivery_ids: Collection[str] | None, *, now: float, again: bool = False
    ) -> Sequence[str]:
        """Make deliveries due now, with a fresh deadline; None means all dead ones.

        The key and the accepted parts stay, unless ``again`` asks for a new key and a whole new message.
        Returns the ids that were changed; pending ones count, unrouted ones do not.
        """
        ...

    async def event(self, event_id: str) -> Event | None:
        """One event whole."""
        ...

    async def events(
        self, *, limit: int = 50, controller: str | None = None, job_id: int | None = None
    ) -> Sequence[Event]:
        """The newest events first."""
        ...

    async def depths(self) -> Sequence[OutboxDepth]:
        """The outbox by sink."""
        ...

    async def secret(self, name: str) -> bytes:
        """32 random bytes kept under ``name``, made on first use; the same for every replica."""
        ...

    async def ping(self) -> None:
        """Prove that the store can be read and written."""
        ...


class Housekeeping(Protocol):
    """What the bridge does to its store from time to time."""

    async def forget(self, *, before: float) -> int:
        """Delete finished deliveries, events and closed incidents older than ``before``, and jobs that no
        full list shows any more; never what is pending, open or still listed. Returns rows deleted.
        """
        ...
