"""The interfaces that the services need from the outside, one small protocol for each need.

Adapters (controller, store, sinks, rendering) implement these; ``app`` plugs them together.
"""

from cmc_notify.core.delivery import AttemptResult, DeliveryState, NewDelivery, Purpose
from cmc_notify.ports.chat_actions import (
    ActionLog,
    ActionOutcome,
    AuditTrail,
    ChatAction,
    ChatActions,
    RefreshResult,
)
from cmc_notify.ports.clock import Clock
from cmc_notify.ports.controller import JobSource, ListedJob
from cmc_notify.ports.ledger import (
    DeliveryFilter,
    Housekeeping,
    Ledger,
    LedgerRow,
    OutboxDepth,
    TicketFilter,
    TicketRow,
)
from cmc_notify.ports.outbox import Claim, Delivery, Outbox, SinkEvents
from cmc_notify.ports.postings import Acknowledgement, Posting, Silenced, Ticket
from cmc_notify.ports.rendering import Message, Rendered, Renderer, SizeLimits
from cmc_notify.ports.sessions import Sessions, SignInCode
from cmc_notify.ports.silences import Silences
from cmc_notify.ports.sinks import PartRecorder, PreviewDocument, Previewing, Sink
from cmc_notify.ports.snapshot import (
    ControllerMeta,
    Fence,
    KnownJob,
    Leadership,
    PollCommit,
    PollStore,
    Replicas,
    SavedJob,
    Snapshot,
)

__all__ = [
    "Acknowledgement",
    "ActionLog",
    "ActionOutcome",
    "AttemptResult",
    "AuditTrail",
    "ChatAction",
    "ChatActions",
    "Claim",
    "Clock",
    "ControllerMeta",
    "Delivery",
    "DeliveryFilter",
    "DeliveryState",
    "Fence",
    "Housekeeping",
    "JobSource",
    "KnownJob",
    "Leadership",
    "Ledger",
    "LedgerRow",
    "ListedJob",
    "Message",
    "NewDelivery",
    "Outbox",
    "OutboxDepth",
    "PartRecorder",
    "PollCommit",
    "PollStore",
    "Posting",
    "PreviewDocument",
    "Previewing",
    "Purpose",
    "RefreshResult",
    "Rendered",
    "Renderer",
    "Replicas",
    "SavedJob",
    "Sessions",
    "SignInCode",
    "Silenced",
    "Silences",
    "Sink",
    "SinkEvents",
    "SizeLimits",
    "Snapshot",
    "Ticket",
    "TicketFilter",
    "TicketRow",
]
