"""The store for command line, dashboard and HTTP API; and the housekeeping that keeps it small."""

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
    """A filter of deliveries; None matches everything. The newest come first."""

    state: DeliveryState | None = None
    sink: str | None = None
    controller: str | None = None
    job_id: int | None = None
    event_id: str | None = None
    limit: int = 50


class LedgerRow(Struct, frozen=True):
    """A delivery with the parts of its event that a reader needs."""

    delivery: Delivery
    event_type: str
    event_time: str
    controller: str | None
    job_id: int | None


class TicketFilter(Struct, frozen=True, kw_only=True):
    """A filter of tickets; None matches everything. The last changed come first."""

    controller: str | None = None
    job_id: int | None = None
    """Matches tickets about a job of this id, and tickets about a failure that such a job changed last."""
    event_id: str | None = None
    """Matches the tickets for the subject of this event."""
    subjects: Collection[str] | None = None
    open_only: bool = False
    limit: int = 1000


class TicketRow(Struct, frozen=True):
    """A ticket with the facts about it that a reader needs."""

    ticket: Ticket
    controller: str | None
    job_id: int | None
    """The job that it is about, or that changed it last; None for no job, or a deleted one."""
    changed_at: float

    @property
    def about(self) -> str:
        """Return a text such as ``job 42 on emea`` or ``V2AB0001 on emea, job 42``; else the subject."""
        kind, _, rest = self.ticket.subject.partition(":")
        job = None if self.job_id is None else f"job {self.job_id}"
        if kind == "failure" and self.controller:
            serial = rest.removeprefix(f"{self.controller}:").rpartition(":")[0]
            return f"{serial} on {self.controller}{f', {job}' if job else ''}"
        return f"{job} on {self.controller}" if job else self.ticket.subject


class Ledger(Protocol):
    """Reads, and the few changes that an operator makes by hand. All raise StoreUnavailable."""

    async def snapshots(self) -> Mapping[str, ControllerMeta]:
        """Return every controller in the store, by name."""
        ...

    async def jobs(
        self, *, controller: str | None = None, open_only: bool = False, limit: int = 50
    ) -> Sequence[tuple[str, JobState]]:
        """Return (controller, state), the newest first."""
        ...

    async def failures(self, *, controller: str | None = None, limit: int = 1000) -> Sequence[TrackedFailure]:
        """Return open failures, the oldest first."""
        ...

    async def count_failures(self) -> Mapping[str, int]:
        """Return the number of open failures by controller."""
        ...

    async def close_failure(self, incident_id: str, *, now: float) -> bool:
        """Close by hand (``closed_by`` operator); returns False if there is no such open failure."""
        ...

    async def deliveries(self, wanted: DeliveryFilter) -> Sequence[LedgerRow]:
        """Return rows of the ledger."""
        ...

    async def delivery(self, delivery_id: str) -> LedgerRow | None:
        """Return one row by delivery id or key."""
        ...

    async def retry(
        self, delivery_ids: Collection[str] | None, *, now: float, again: bool = False
    ) -> Sequence[str]:
        """Make deliveries due now, with a new deadline; None means all dead ones.

        The key and the accepted parts stay, unless ``again`` requests a new key and a whole new message.
        Returns the changed ids: pending ones may be changed; unrouted, silenced and superseded ones are not.
        """
        ...

    async def event(self, event_id: str) -> Event | None:
        """Return one whole event."""
        ...

    async def events(
        self, *, limit: int = 50, controller: str | None = None, job_id: int | None = None
    ) -> Sequence[Event]:
        """Return events, the newest first."""
        ...

    async def tickets(self, wanted: TicketFilter) -> Sequence[TicketRow]:
        """Return the tickets that sinks opened, for as long as retention keeps them."""
        ...

    async def acknowledgements(self, subjects: Collection[str]) -> Mapping[str, Acknowledgement]:
        """Return the acknowledgements by subject; a subject without one is left out."""
        ...

    async def depths(self) -> Sequence[OutboxDepth]:
        """Return the outbox by sink."""
        ...

    async def secret(self, name: str) -> bytes:
        """Return 32 random bytes stored under ``name``, made at first use; the same for every replica."""
        ...

    async def ping(self) -> None:
        """Check that the store can be read and written."""
        ...


class Housekeeping(Protocol):
    """The regular maintenance of the store."""

    async def forget(self, *, before: float) -> int:
        """Delete finished deliveries, events, closed failures, closed tickets, messages kept up to date and
        ended silences older than ``before``, and jobs that no full list shows any more. Nothing pending, open
        or still listed is deleted. Returns the number of deleted rows.
        """
        ...

    async def end_unserved(self, served: Collection[str]) -> Mapping[str, int]:
        """Make dead letters of the pending deliveries for sinks that are not ``served``, with that reason.

        Returns their number by sink. Deliveries that another replica is sending stay pending; if several
        replicas may run, so do deliveries for a sink that another one seems to serve.
        """
        ...
