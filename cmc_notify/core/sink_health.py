"""Whether deliveries to a sink keep failing, and what is told of it: a pure decision from outcomes.

Failing is told at once where a sink waits for an operator, else after several failed attempts in a row that
span some time: one bad message or one dropped connection is no news. It has recovered at the next message
that it takes.
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
"""In a row, over all deliveries, before a sink that is not blocked is called failing."""
FAILED_FOR = 30.0
"""Seconds that must lie between the first of them and the last."""


class Streak(Struct, frozen=True, kw_only=True):
    """The failed attempts since the sink last took a message."""

    attempts: int = 0
    since: float | None = None
    """When the first of them ended, in Unix seconds."""
    reason: str = ""
    """What the last one came to."""
    blocked: bool = False

    def after(self, outcome: SendOutcome, now: float) -> "Streak":
        """The streak with one more attempt, which ended at ``now``."""
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
        """True: it fails; False: it works; None: too early to tell."""
        if self.since is None:
            return False
        return self.blocked or (self.attempts >= FAILED_ATTEMPTS and now - self.since >= FAILED_FOR) or None


class SinkCondition(Struct, frozen=True):
    """What was last told of a sink. ``revision`` counts it: failing, recovered, failing and so on."""

    revision: int = 0
    since: str | None = None
    """The ``since`` of that event, RFC 3339."""

    @property
    def failing(self) -> bool:
        """Whether it was told as failing, and not yet as recovered."""
        return self.revision % 2 == 1


class SinkEvent(Struct, frozen=True, kw_only=True):
    """An event about a sink with its deliveries, to be written in one transaction or not at all."""

    sink: str
    condition: SinkCondition
    """What has been told once it is written. (sink, revision) is unique in the store."""
    event: Event
    deliveries: tuple[NewDelivery, ...]


def build_sink_event(
    sink: str,
    streak: Streak,
    told: SinkCondition,
    *,
    now: float,
    routes: Sequence[Route],
    sinks: Mapping[str, SinkProfile],
) -> SinkEvent:
    """Tell the other side of what was last told: failing with the streak's reason, or recovered."""
    kind = EventType.SINK_RECOVERED if told.failing else EventType.SINK_FAILING
    revision = told.revision + 1
    since = told.since if told.failing else rfc3339(streak.since)
    event = Event(
        id=event_id(now, 0, "sink", sink, revision, kind),
        type=kind,
        time=rfc3339(now) or "",
        severity=SEVERITY[kind],
        controller=None,
        reason=None if told.failing else _reason(streak),
        since=since,
        sink=sink,
    )
    subject = f"sink:{sink}"
    addresses = status_recipients(event, subject, routes, sinks)
    deliveries = [
        delivery_to(address, event, subject, sinks[address.sink], now=now, due_at=now)
        for address in addresses
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
