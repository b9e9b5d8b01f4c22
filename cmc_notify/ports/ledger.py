"""What people ask of the store: command line, dashboard, HTTP API; and what keeps it small."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from cmc_notify.core.delivery import DeliveryState
from cmc_notify.core.events import Event
from cmc_notify.core.model import JobState, TrackedFailure
from cmc_notify.ports.outbox import Delivery
from cmc_notify.ports.postings import Acknowledgement, Ticket
from cmc_notify.ports.snapshot import ControllerMeta


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


class TicketFilter(Struct, frozen=True, kw_only=True):
    """Which tickets to list; None matches everything. The last changed come first."""

    controller: str | None = None
    job_id: int | None = None
    """Those about a job of this id; and those about one appliance that such a job changed last."""
    event_id: str | None = None
    """Those that stand for what the event is about."""
    subjects: Collection[str] | None = None
    open_only: bool = False
    limit: int = 1000


class TicketRow(Struct, frozen=True):
    """A ticket with what a reader needs to know of it."""

    ticket: Ticket
    controller: str | None
    job_id: int | None
    """The job that it is about, or that changed it last; None for no job, or one that is forgotten."""
    changed_at: float

    @property
    def about(self) -> str:
        """For people: ``job 42 on emea``, ``V2AB0001 on emea, job 42``; the subject if no more is known."""
        kind, _, rest = self.ticket.subject.partition(":")
        job = None if self.job_id is None else f"job {self.job_id}"
        if kind == "failure" and self.controller:
            serial = rest.removeprefix(f"{self.controller}:").rpartition(":")[0]
            return f"{serial} on {self.controller}{f', {job}' if job else ''}"
        return f"{job} on {self.controller}" if job else self.ticket.subject


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

    async def failures(self, *, controller: str | None = None, limit: int = 1000) -> Sequence[TrackedFailure]:
        """Open incidents, the oldest first."""
        ...

    async def count_failures(self) -> Mapping[str, int]:
        """Open incidents by controller."""
        ...

    async def close_failure(self, incident_id: str, *, now: float) -> bool:
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
        Returns the ids that were changed; pending ones count; unrouted, silenced and superseded ones do not.
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

    async def tickets(self, wanted: TicketFilter) -> Sequence[TicketRow]:
        """What sinks opened at ticketing systems, for as long as retention keeps it."""
        ...

    async def acknowledgements(self, subjects: Collection[str]) -> Mapping[str, Acknowledgement]:
        """Who has taken them upon them, by subject; those that nobody has are left out."""
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
        """Delete finished deliveries, events, closed incidents, closed tickets, messages in place and ended
        silences older than ``before``, and jobs that no full list shows any more; never what is pending, open
        or still listed. Returns rows deleted.
        """
        ...

    async def end_unserved(self, served: Collection[str]) -> Mapping[str, int]:
        """Make dead letters, with that reason, of what is pending for sinks that are not ``served``; returns
        how many, by sink. What another replica is sending, or where several may run seems to serve, stays.
        """
        ...
