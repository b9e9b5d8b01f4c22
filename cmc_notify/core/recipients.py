"""The recipients of an event: sinks, each with a subject and a purpose.

Routes decide who is notified. Three rules add to them. A sink that shows a job in one message keeps that
message up to date (``follow``). A recovery goes to the sinks that were notified of the failure. A ticketing
system gets the events that open, change or close a ticket, and nothing else.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.delivery import NewDelivery, Purpose
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import JobState, TrackedFailure
from cmc_notify.core.routing import Route, Shown, route
from cmc_notify.core.silences import Silence, apply_silences, describe
from cmc_notify.core.ticketing import (
    OPENING,
    Recipient,
    job_subject,
    opening_events,
    ticket_endings,
    ticket_openings,
)


class SinkProfile(Struct, frozen=True, kw_only=True):
    """The settings of a sink that matter before anything is sent."""

    deadline: float = 86400.0
    """Seconds after which an undelivered message is a dead letter."""
    send_resolved: bool = True
    tickets: bool = False
    """True if it opens and closes tickets; it gets only the events that do so."""
    updates_every: float | None = None
    """Seconds between two ``job.progress``, for a sink that changes its messages in place; else None."""


class Recipients:
    """Finds the recipients for one controller and one poll."""

    def __init__(
        self,
        controller: str,
        *,
        now: float,
        routes: Sequence[Route],
        sinks: Mapping[str, SinkProfile],
        silences: Sequence[Silence] = (),
    ) -> None:
        self.silenced: dict[str, str] = {}
        """By event id, a description of the silences that hid it from every sink."""
        self._silences = silences
        self._controller = controller
        self._now = now
        self._routes = routes
        self._sinks = sinks
        self._updating = {name for name, profile in sinks.items() if profile.updates_every is not None}

    def for_controller(self, event: Event, silenced_by: str | None) -> list[Recipient]:
        """Return the recipients of an event about the controller itself.

        With ``silenced_by`` it is silenced, whatever the silences are now.
        """
        subject = controller_subject(self._controller)
        found = status_recipients(event, subject, self._routes, self._sinks)
        notified = {each.sink: each.shown for each in found if each.purpose is Purpose.NOTIFY}
        left = self._unsilenced(event, subject, notified)
        if silenced_by:
            left, self.silenced[event.id] = {}, silenced_by
        return [each for each in found if each.purpose is not Purpose.NOTIFY or each.sink in left]

    def for_job(
        self, event: Event, state: JobState, failures: FailureTracker, ended: Sequence[TrackedFailure]
    ) -> list[Recipient]:
        """Return the recipients of an event about a job, except a recovery.

        ``ended`` are the pre-push failures that it ends.
        """
        subject = job_subject(self._controller, state.uid)
        shown = self._unsilenced(event, subject, route(event, self._routes, updating_sinks=self._updating))
        found: list[Recipient] = []
        for sink, indices in shown.items():
            if not self._sinks[sink].tickets:
                found.append(Recipient(sink=sink, subject=subject, shown=indices))
            elif event.type in OPENING:
                found += ticket_openings(event, sink, indices, self._routes, job=state, failures=failures)
        for sink in sorted(state.followers & self._updating - shown.keys()):
            # This sink is not notified, so it shows only failures that it was notified of before.
            known = failures.shown_before(sink, event, state) if event.failures else None
            found.append(Recipient(sink=sink, subject=subject, shown=known, purpose=Purpose.FOLLOW))
        return found + self._ticket_closings(event, state, failures, ended)

    def _unsilenced(self, event: Event, subject: str, shown: Mapping[str, Shown]) -> Mapping[str, Shown]:
        """Return what silences leave of ``shown``; if they leave nothing, note why in ``silenced``."""
        left, by = apply_silences(event, shown, self._silences, subject=subject, now=self._now)
        if by and not left:
            self.silenced[event.id] = describe(by)
        return left

    def for_recovery(
        self, uid: str, ended: Sequence[TrackedFailure], failures: FailureTracker
    ) -> list[Recipient]:
        """Return the sinks that were notified of the failures, each to be notified after those deliveries."""
        subject = job_subject(self._controller, uid)
        found: list[Recipient] = []
        for sink, profile in self._sinks.items():
            if not profile.send_resolved:
                continue
            if profile.tickets:
                found += ticket_endings(ended, failures, sink)
                continue
            indices = tuple(i for i, failure in enumerate(ended) if sink in failure.notified)
            if indices:
                waits_for = dict.fromkeys(key for i in indices for key in ended[i].notified[sink])
                every = len(indices) == len(ended)
                found.append(
                    Recipient(
                        sink=sink,
                        subject=subject,
                        shown=None if every else indices,
                        waits_for=tuple(waits_for),
                    )
                )
        return found

    def state_after(self, state: JobState, event: Event, recipients: Iterable[Recipient]) -> JobState:
        """Return the state with what the job's next events need: which sinks show it or have its ticket."""
        subject = job_subject(self._controller, state.uid)
        followers, ticketed = set(state.followers), set(state.ticketed)
        every = 0.0
        for recipient in recipients:
            profile = self._sinks[recipient.sink]
            if profile.updates_every is not None:
                every = max(every, profile.updates_every)
                if recipient.purpose is Purpose.NOTIFY:
                    followers.add(recipient.sink)
            if profile.tickets and recipient.subject == subject:
                (ticketed.discard if recipient.purpose is Purpose.CLOSE else ticketed.add)(recipient.sink)
        due = state.progress_due
        if event.type is EventType.JOB_PROGRESS:
            # If the last one is not due yet, this one replaces it and takes its time, unless that time is far
            # away because our clock was set back.
            due = min(due, self._now + every) if due > self._now else max(self._now, due + every)
        return replace(state, followers=frozenset(followers), ticketed=frozenset(ticketed), progress_due=due)

    def _ticket_closings(
        self, event: Event, state: JobState, failures: FailureTracker, ended: Sequence[TrackedFailure]
    ) -> list[Recipient]:
        """Return the tickets that a job's success closes: of failures that it ended, and its own ticket."""
        if event.type is not EventType.JOB_SUCCEEDED:
            return []
        own = job_subject(self._controller, state.uid)
        found: dict[tuple[str, str], Recipient] = {}
        for sink, profile in self._sinks.items():
            if not profile.tickets or not profile.send_resolved:
                continue
            for recipient in ticket_endings(ended, failures, sink):
                found[sink, recipient.subject] = replace(recipient, shown=None)
            if sink in state.ticketed and not state.job.failed_pairs():
                found.setdefault((sink, own), Recipient(sink=sink, subject=own, purpose=Purpose.CLOSE))
        return list(found.values())


def status_recipients(
    event: Event, subject: str, routes: Sequence[Route], sinks: Mapping[str, SinkProfile]
) -> list[Recipient]:
    """Return the recipients of an event about a controller or a sink.

    The end of its trouble closes the ticket at each sink that opened one.
    """
    found = [
        Recipient(sink=sink, subject=subject)
        for sink in route(event, routes)
        if not sinks[sink].tickets or event.type in OPENING
    ]
    closing = dict.fromkeys(sink for begun in opening_events(event) for sink in route(begun, routes))
    found += [
        Recipient(sink=sink, subject=subject, purpose=Purpose.CLOSE)
        for sink in closing
        if sinks[sink].tickets and sinks[sink].send_resolved
    ]
    return found


def controller_subject(controller: str) -> str:
    """Return the subject of deliveries about a controller itself."""
    return f"controller:{controller}"


def delivery_id(recipient: Recipient, event: Event, subject: str) -> str:
    """Return the id, which is also the first key and so has no dot; ``subject`` is the event's own."""
    if recipient.subject == subject:
        return f"{event.id}-{recipient.sink}"
    return f"{event.id}-{recipient.sink}-{hashlib.sha256(recipient.subject.encode()).hexdigest()[:12]}"


def delivery_to(
    recipient: Recipient, event: Event, subject: str, profile: SinkProfile, *, now: float, due_at: float
) -> NewDelivery:
    """Return the delivery that is written for a recipient."""
    return NewDelivery(
        id=delivery_id(recipient, event, subject),
        event_id=event.id,
        sink=recipient.sink,
        subject=recipient.subject,
        ordering_key=recipient.subject,
        shown=recipient.shown,
        waits_for=recipient.waits_for,
        purpose=recipient.purpose,
        due_at=due_at,
        deadline_at=now + profile.deadline,
    )


def delivery_to_nobody(event: Event, subject: str, now: float, silenced_by: str | None = None) -> NewDelivery:
    """Return the ledger's row for an event that no sink is notified of."""
    return NewDelivery(
        id=f"{event.id}--{'silenced' if silenced_by else 'unrouted'}",  # no sink's name begins with a dash
        silenced_by=silenced_by,
        event_id=event.id,
        sink="",
        subject=subject,
        ordering_key=subject,
        due_at=now,
        deadline_at=now,
    )
