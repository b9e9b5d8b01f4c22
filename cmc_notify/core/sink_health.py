"""The health of a sink (failing or not) and the events about it: a pure decision from outcomes.

``sink.failing`` is announced at once if the sink is blocked, else after several failed attempts in a row over
some time: one bad message or one dropped connection is not an event. The sink has recovered at the next
message that its receiver accepts.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

from msgspec import Struct

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.events import SEVERITY, Event, EventType, event_id, rfc3339
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.recipients import SinkProfile, delivery_to, delivery_to_nobody, status_recipients
from cmc_notify.core.routing import Route

FAILED_ATTEMPTS = 3
"""In a row, over all deliveries, before a sink that is not blocked counts as failing."""
FAILED_FOR = 30.0
"""Seconds that must pass between the first of them and the last."""


class Streak(Struct, frozen=True, kw_only=True):
    """The failed attempts since the last message that was sent."""

    attempts: int = 0
    since: float | None = None
    """The time at which the first of them ended, in Unix seconds."""
    reason: str = ""
    """The reason of the last one."""
    blocked: bool = False

    def after(self, outcome: SendOutcome, now: float) -> "Streak":
        """Return the streak with one more attempt, which ended at ``now``."""
        match outcome:
            case Sent():
                return Streak()
            case Blocked(reason):
                blocked = True
            case RetryLater(reason) | Unclear(reason) | Rejected(reason):
                blocked = False
            case _:
                assert_never(outcome)
        since = now if self.since is None else self.since
        return Streak(attempts=self.attempts + 1, since=since, reason=reason, blocked=blocked)

    def failing(self, now: float) -> bool | None:
        """Return True if the sink fails, False if it works, None if it is too early to know."""
        if self.since is None:
            return False
        return self.blocked or (self.attempts >= FAILED_ATTEMPTS and now - self.since >= FAILED_FOR) or None


class SinkCondition(Struct, frozen=True):
    """The last announced condition of a sink. ``revision`` counts the changes, from failing on."""

    revision: int = 0
    since: str | None = None
    """The ``since`` of that event, RFC 3339."""

    @property
    def failing(self) -> bool:
        """Return True if it was announced as failing, and not yet as recovered."""
        return self.revision % 2 == 1


class SinkEvent(Struct, frozen=True, kw_only=True):
    """An event about a sink with its deliveries, to be written in one transaction or not at all."""

    sink: str
    condition: SinkCondition
    """The announced condition once this is written. (sink, revision) is unique in the store."""
    event: Event
    deliveries: tuple[NewDelivery, ...]


def build_sink_event(
    sink: str,
    streak: Streak,
    last: SinkCondition,
    *,
    now: float,
    routes: Sequence[Route],
    sinks: Mapping[str, SinkProfile],
) -> SinkEvent:
    """Return the event that ends the ``last`` announced condition.

    That is ``sink.failing`` with the streak's reason, or ``sink.recovered``.
    """
    kind = EventType.SINK_RECOVERED if last.failing else EventType.SINK_FAILING
    revision = last.revision + 1
    since = last.since if last.failing else rfc3339(streak.since)
    event = Event(
        id=event_id(now, 0, "sink", sink, revision, kind),
        type=kind,
        time=rfc3339(now) or "",
        severity=SEVERITY[kind],
        controller=None,
        reason=None if last.failing else _reason(streak),
        since=since,
        sink=sink,
    )
    subject = f"sink:{sink}"
    recipients = status_recipients(event, subject, routes, sinks)
    deliveries = [
        delivery_to(recipient, event, subject, sinks[recipient.sink], now=now, due_at=now)
        for recipient in recipients
    ]
    return SinkEvent(
        sink=sink,
        condition=SinkCondition(revision, since),
        event=event,
        deliveries=tuple(deliveries or [delivery_to_nobody(event, subject, now)]),
    )


def _reason(streak: Streak) -> str:
    if streak.blocked:
        return f"Blocked: {streak.reason}"
    return f"{streak.attempts} attempts in a row failed, the last one: {streak.reason}"
