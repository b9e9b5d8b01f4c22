"""The outbox, from which the dispatcher claims deliveries and where it records results."""

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from cmc_notify.core.delivery import AttemptResult, DeliveryState, Purpose
from cmc_notify.core.events import Event
from cmc_notify.core.sink_health import SinkCondition, SinkEvent
from cmc_notify.ports.postings import Acknowledgement, Posting, Silenced, Ticket


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
    """True if an earlier attempt may have arrived, so that the sink reconciles first."""
    receipt: str | None = None
    parts: dict[str, str] = {}
    purpose: Purpose = Purpose.NOTIFY


class Claim(Struct, frozen=True):
    """A delivery that this process may send until its lease ends, with its whole event.

    It also has the existing posting at its sink for its subject, and the tickets about the event's subject.
    """

    delivery: Delivery
    event: Event
    posting: Posting | None = None
    tickets: tuple[Ticket, ...] = ()
    acknowledged: Acknowledgement | None = None
    silenced: Silenced | None = None


class Outbox(Protocol):
    """The dispatcher's queue. Every method raises StoreUnavailable."""

    async def claim(
        self, sink: str, *, owner: str, limit: int, lease: float, in_turn: bool = False
    ) -> Sequence[Claim]:
        """Lease up to ``limit`` due deliveries, the oldest first, at most one per ordering key.

        With ``in_turn``, the longest due first: deliveries that failed before come after those not yet tried.
        A delivery behind an unfinished one of the same key, or waiting for another, is not due.
        An expired lease counts as free; its delivery comes back with ``unclear`` set.
        """
        ...

    async def claim_expired(self, sink: str, *, owner: str, limit: int, lease: float) -> Sequence[Claim]:
        """Lease deliveries as ``claim`` does, that have reached their deadline: to be recorded as dead."""
        ...

    async def renew(self, delivery_ids: Collection[str], *, owner: str, lease: float) -> frozenset[str]:
        """Lease them for ``lease`` seconds from now on, while they are being sent.

        Returns those that this process still leases; any other must not be sent again.
        """
        ...

    async def record_part(
        self, delivery_id: str, part: str, receipt: str, *, posting: Posting | None = None
    ) -> None:
        """Record that one part of a message was accepted, and with it the posting at the receiver now."""
        ...

    async def record(self, delivery_id: str, *, owner: str, result: AttemptResult) -> bool:
        """Write the result of an attempt and end the lease; returns False if the lease was no longer ours.

        The delivery to the fallback is written with it: of a dead delivery; and of a resolve that was sent,
        the part that ends failures of which the fallback was notified.
        Progress that would be tried again is superseded instead if a newer event of its key is pending.
        """
        ...

    async def renew_deadlines(self, sink: str) -> None:
        """Move the deadlines of a blocked sink's pending deliveries.

        From now on each has at least half of the time that it was given at first.
        """
        ...

    async def next_due(self, sink: str) -> float | None:
        """Return when the sink's next delivery can be claimed (a past time: now); None if none is pending."""
        ...

    async def next_deadline(self, sink: str) -> float | None:
        """Return the earliest deadline of the sink's pending deliveries; None if none is pending."""
        ...


class SinkEvents(Protocol):
    """The events about the sinks themselves. Every method raises StoreUnavailable."""

    async def last_condition(self, sink: str) -> SinkCondition:
        """Return the last announced condition of the sink; revision 0 if there was none."""
        ...

    async def commit(self, new: SinkEvent) -> bool:
        """Write event and deliveries; returns True if they were written.

        Nothing is written if ``new.condition`` does not follow the last announced condition: another
        replica was first.
        """
        ...
