"""Compares the controller's history with what the three receivers got.

The controller's history comes only from the simulator's record, the messages only from the receivers. The
bridge's store gives only its events.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from cmc_notify.core.events import Event
from cmc_notify.demo.channel import Chat, Failed
from cmc_notify.ports import OutboxDepth
from cmc_notify.simulator import Version
from cmc_notify.simulator.mailbox import Mail
from cmc_notify.simulator.receiver import Received
from cmc_notify.simulator.slack import SlackMessage

TICKET_EVENTS = ("job.failed", "appliance.failed", "appliance.recovered")
CHAT_EVENTS = (
    *TICKET_EVENTS, "job.queued", "job.started", "job.succeeded", "job.canceled", "job.reopened",
    "job.overdue", "job.vanished",
)  # fmt: skip
MAIL_EVENTS = ("job.failed", "job.succeeded", "job.canceled")
"""The events that the demo's config routes to each sink."""

_FINALS = {"Failed": "job.failed", "Success": "job.succeeded", "Canceled": "job.canceled"}


class Check(Struct, frozen=True):
    """A condition in words, and True if it holds."""

    text: str
    holds: bool


class Summary(Struct, frozen=True, kw_only=True):
    """The result of the night."""

    events: dict[str, int]
    """Event type to number."""
    deliveries: tuple[OutboxDepth, ...]
    failed: int
    """Failed (job, appliance, feature) that were notified."""
    recovered: int
    """(appliance, feature) that were notified as recovered."""
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Return True if every check holds."""
        return all(check.holds for check in self.checks)


class AllReceived(NamedTuple):
    """Everything that the three receivers got."""

    chat: Sequence[SlackMessage]
    tickets: Sequence[Received]
    mails: Sequence[Mail]


def summarize(
    history: Sequence[Version],
    begin: float,
    events: Sequence[Event],
    depths: Sequence[OutboxDepth],
    received: AllReceived,
) -> Summary:
    """Return the summary. ``begin`` is the scenario's start in virtual seconds: earlier jobs do not count."""
    chat = Chat(received.chat)
    documents = [request.document for request in received.tickets if request.problem is None]
    notified = {pair for document in documents for pair in _notified(document)}
    failed, finals = _failed(history, begin), _finals(history, begin)
    ends = _ends(history, begin)
    mailed = Counter(str(mail.message["X-Cmc-Notify-Event"]) for mail in received.mails)
    by_sink = {depth.sink: depth for depth in depths}
    ids = [request.id for request in received.tickets]
    counted = {"chat": chat.changes, "tickets": len(documents), "mail": len(received.mails)}
    checks = (
        Check(
            f"each of the {len(failed)} failures on the controller reached the tickets",
            notified == failed.keys(),
        ),
        Check(f"each of the {finals.total()} ends of a job was mailed once", mailed == finals),
        Check(
            f"chat has one message for each of the {len(ends)} jobs, with its final status",
            chat.states == ends,
        ),
        Check("each failure is in its job's thread, with its whole text", chat.holds(failed)),
        Check("no message came twice, and every signature is valid", _clean(ids, received.tickets)),
        Check(
            "each receiver has all that the ledger reports as sent",
            all(by_sink[name].sent == count for name, count in counted.items() if name in by_sink)
            and counted.keys() == by_sink.keys(),
        ),
        Check("the outbox is empty, and no delivery failed", not any(d.pending + d.dead for d in depths)),
    )
    return Summary(
        events=dict(sorted(Counter(str(event.type) for event in events).items())),
        deliveries=tuple(depths),
        failed=len(notified),
        recovered=sum(len(document["recoveries"]) for document in documents),
        checks=checks,
    )


def _notified(document: dict[str, Any]) -> Iterable[Failed]:
    for failure in document["failures"]:
        yield Failed(document["job"]["id"], failure["serial"], failure["feature_id"])


def _failed(history: Sequence[Version], begin: float) -> dict[Failed, str]:
    """Return every (job, serial, feature) that failed during the night, with its text."""
    return {
        Failed(document["id"], row["serialnum"], row["feature_id"]): row.get("error_text") or ""
        for document in (version.document for version in history if version.time > begin)
        for row in document.get("detailed_status") or []
        if row.get("result") == "Fail"
    }


def _finals(history: Sequence[Version], begin: float) -> Counter[str]:
    """Count the ends of jobs by event type; a rerun ends again, also if only its end was served."""
    last: dict[str, tuple[str, int | None]] = {}
    found: Counter[str] = Counter()
    for version in history:
        document = version.document
        end = str(document["job_status"]), document.get("push_time")
        if version.time > begin and end[0] in _FINALS and last.get(version.key) != end:
            found[_FINALS[end[0]]] += 1
        last[version.key] = end
    return found


def _ends(history: Sequence[Version], begin: float) -> dict[int, str]:
    """Return the last status of each job of the night."""
    return {
        version.document["id"]: version.document["job_status"] for version in history if version.time > begin
    }


def _clean(ids: Sequence[str | None], requests: Sequence[Received]) -> bool:
    return len(set(ids)) == len(ids) and not any(request.problem for request in requests)
