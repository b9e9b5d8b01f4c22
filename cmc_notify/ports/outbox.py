"""What the dispatcher claims and records."""

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
    """Whether an earlier attempt may have arrived, so that the sink reconciles first."""
    receipt: str | None = None
    parts: dict[str, str] = {}
    purpose: Purpose = Purpose.NOTIFY


class Claim(Struct, frozen=True):
    """A delivery that this process may send until its lease ends, with its whole event and what stands
    already: at its sink for its subject, and as tickets for what the event is about.
    """

    delivery: Delivery
    event: Event
    posting: Posting | None = None
    tickets: tuple[Ticket, ...] = ()
    acknowledged: Acknowledgement | None = None
    silenced: Silenced | None = None


class Outbox(Protocol):
    """What the dispatcher needs. Every method raises StoreUnavailable."""

    async def claim(
        self, sink: str, *, owner: str, limit: int, lease: float, in_turn: bool = False
    ) -> Sequence[Claim]:
        """Lease up to ``limit`` due deliveries, the oldest first, at most one per ordering key.

        With ``in_turn``, the longest due first: what was tried in vain comes after what was not.
        A delivery behind an unfinished one of the same key, or waiting for another, is not due.
        An expired lease counts as free; its delivery comes back with ``unclear`` set.
        """
        ...

    async def claim_expired(self, sink: str, *, owner: str, limit: int, lease: float) -> Sequence[Claim]:
        """As ``claim``, of what has reached its deadline: to be recorded as dead, not to be sent."""
        ...

    async def renew(self, delivery_ids: Collection[str], *, owner: str, lease: float) -> frozenset[str]:
        """Lease them for ``lease`` seconds from now on, while they are being sent.

        Returns those that are still ours; any other was finished or taken over, and must not be sent again.
        """
        ...

    async def record_part(
        self, delivery_id: str, part: str, receipt: str, *, posting: Posting | None = None
    ) -> None:
        """Remember that one part of a message was accepted, and with it what stands there now."""
        ...

    async def record(self, delivery_id: str, *, owner: str, result: AttemptResult) -> bool:
        """Write what came of an attempt and end the lease; False where the lease was no longer ours.

        With it is written what the fallback gets: a dead delivery; and of a resolve that was sent, the part
        that ends failures which the fallback was told.
        Progress that is to be tried again is superseded instead where newer news of its key is pending.
        """
        ...

    async def renew_deadlines(self, sink: str) -> None:
        """The sink takes nothing until an operator acts: what is pending for it keeps, from now on, at
        least half of the time that its delivery was given at first.
        """
        ...

    async def next_due(self, sink: str) -> float | None:
        """When the sink's next delivery can be claimed (a past time: now); None with nothing pending."""
        ...

    async def next_deadline(self, sink: str) -> float | None:
        """The earliest deadline among what is pending for the sink; None with nothing pending."""
        ...


class SinkEvents(Protocol):
    """What is told of the sinks themselves. Every method raises StoreUnavailable."""

    async def last_condition(self, sink: str) -> SinkCondition:
        """What was last told of the sink; revision 0 where nothing was."""
        ...

    async def commit(self, news: SinkEvent) -> bool:
        """Write event and deliveries; False, and nothing is written, where ``news.condition`` does not
        follow what was last told: another replica was first.
        """
        ...
