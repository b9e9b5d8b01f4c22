"""Who gets a delivery of an event, about which subject and for what purpose.

Routes decide who is told. Besides: what a sink shows in a message of its own is kept up to date there
(``follow``); a recovery goes to those who were told of the failure; a ticketing system gets what opens,
changes or closes a ticket, and nothing else.
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
from cmc_notify.core.silences import Silence, apply_silences
from cmc_notify.core.silences import reason as in_words
from cmc_notify.core.ticketing import OPENING, Recipient, beginnings, endings, job_subject, openings


class SinkProfile(Struct, frozen=True, kw_only=True):
    """What of a sink's settings matters before anything is sent."""

    deadline: float = 86400.0
    """Seconds after which an undelivered message is a dead letter."""
    send_resolved: bool = True
    tickets: bool = False
    """Whether it opens and closes tickets, and is told only of what does either."""
    updates_every: float | None = None
    """For a sink that changes its messages in place and so wants ``job.progress``: how many seconds apart."""


class Recipients:
    """For one controller and one poll."""

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
        """By event, the silences that kept it from everybody, in words."""
        self._silences = silences
        self._controller = controller
        self._now = now
        self._routes = routes
        self._sinks = sinks
        self._updating = {name for name, rule in sinks.items() if rule.updates_every is not None}

    def of_controller(self, event: Event, silenced_by: str | None) -> list[Recipient]:
        """Of news of the controller itself; ``silenced_by`` silences it, whatever else does."""
        subject = controller_subject(self._controller)
        found = status_recipients(event, subject, self._routes, self._sinks)
        told = {each.sink: each.shown for each in found if each.purpose is Purpose.NOTIFY}
        heard = self._heard(event, subject, told)
        if silenced_by:
            heard, self.silenced[event.id] = {}, silenced_by
        return [each for each in found if each.purpose is not Purpose.NOTIFY or each.sink in heard]

    def of_job(
        self, event: Event, state: JobState, incidents: FailureTracker, ended: Sequence[TrackedFailure]
    ) -> list[Recipient]:
        """Of an event about a job, but a recovery; ``ended`` are the failures of whole jobs that it ends."""
        subject = job_subject(self._controller, state.uid)
        shown = self._heard(event, subject, route(event, self._routes, updating_sinks=self._updating))
        told: list[Recipient] = []
        for sink, indices in shown.items():
            if not self._sinks[sink].tickets:
                told.append(Recipient(sink=sink, subject=subject, shown=indices))
            elif event.type in OPENING:
                told += openings(event, sink, indices, self._routes, job=state, incidents=incidents)
        for sink in sorted(state.followers & self._updating - shown.keys()):
            # Nobody is told here, so nothing is shown that was not told there before.
            known = incidents.told_to(sink, event, state) if event.failures else None
            told.append(Recipient(sink=sink, subject=subject, shown=known, purpose=Purpose.FOLLOW))
        return told + self._closings(event, state, incidents, ended)

    def _heard(self, event: Event, subject: str, shown: Mapping[str, Shown]) -> Mapping[str, Shown]:
        """What silences leave of that; where they leave nothing at all, why is noted."""
        left, by = apply_silences(event, shown, self._silences, subject=subject, now=self._now)
        if by and not left:
            self.silenced[event.id] = in_words(by)
        return left

    def of_recovery(
        self, uid: str, ended: Sequence[TrackedFailure], incidents: FailureTracker
    ) -> list[Recipient]:
        """Recovery follows the opening: to whoever was told of each failure, after it was told."""
        subject = job_subject(self._controller, uid)
        found: list[Recipient] = []
        for sink, rule in self._sinks.items():
            if not rule.send_resolved:
                continue
            if rule.tickets:
                found += endings(ended, incidents, sink)
                continue
            indices = tuple(i for i, incident in enumerate(ended) if sink in incident.notified)
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

    def noted(self, state: JobState, event: Event, addresses: Iterable[Recipient]) -> JobState:
        """The job with what its next events have to know: who shows it, and who has a ticket for it."""
        subject = job_subject(self._controller, state.uid)
        followers, ticketed = set(state.followers), set(state.ticketed)
        every = 0.0
        for address in addresses:
            rule = self._sinks[address.sink]
            if rule.updates_every is not None:
                every = max(every, rule.updates_every)
                if address.purpose is Purpose.NOTIFY:
                    followers.add(address.sink)
            if rule.tickets and address.subject == subject:
                (ticketed.discard if address.purpose is Purpose.CLOSE else ticketed.add)(address.sink)
        due = state.progress_due
        if event.type is EventType.JOB_PROGRESS:
            # Where the last one is not due yet, this one takes its place, and its time; but not a time that
            # is far off because our clock was set back.
            due = min(due, self._now + every) if due > self._now else max(self._now, due + every)
        return replace(state, followers=frozenset(followers), ticketed=frozenset(ticketed), progress_due=due)

    def _closings(
        self, event: Event, state: JobState, incidents: FailureTracker, ended: Sequence[TrackedFailure]
    ) -> list[Recipient]:
        """A job's success closes the tickets of what it ended, and its own, left from an earlier run."""
        if event.type is not EventType.JOB_SUCCEEDED:
            return []
        own = job_subject(self._controller, state.uid)
        found: dict[tuple[str, str], Recipient] = {}
        for sink, rule in self._sinks.items():
            if not rule.tickets or not rule.send_resolved:
                continue
            for address in endings(ended, incidents, sink):
                found[sink, address.subject] = replace(address, shown=None)
            if sink in state.ticketed and not state.job.failed_pairs():
                found.setdefault((sink, own), Recipient(sink=sink, subject=own, purpose=Purpose.CLOSE))
        return list(found.values())


def status_recipients(
    event: Event, subject: str, routes: Sequence[Route], sinks: Mapping[str, SinkProfile]
) -> list[Recipient]:
    """Of an event about a controller or a sink; its end closes the ticket wherever one was opened."""
    found = [
        Recipient(sink=sink, subject=subject)
        for sink in route(event, routes)
        if not sinks[sink].tickets or event.type in OPENING
    ]
    closing = dict.fromkeys(sink for begun in beginnings(event) for sink in route(begun, routes))
    found += [
        Recipient(sink=sink, subject=subject, purpose=Purpose.CLOSE)
        for sink in closing
        if sinks[sink].tickets and sinks[sink].send_resolved
    ]
    return found


def controller_subject(controller: str) -> str:
    """What deliveries about a controller itself are about."""
    return f"controller:{controller}"


def delivery_id(address: Recipient, event: Event, subject: str) -> str:
    """Also the first key, so it holds no dot; ``subject`` is the event's own."""
    if address.subject == subject:
        return f"{event.id}-{address.sink}"
    return f"{event.id}-{address.sink}-{hashlib.sha256(address.subject.encode()).hexdigest()[:12]}"


def delivery_to(
    address: Recipient, event: Event, subject: str, rule: SinkProfile, *, now: float, due_at: float
) -> NewDelivery:
    """The delivery that is written for an address."""
    return NewDelivery(
        id=delivery_id(address, event, subject),
        event_id=event.id,
        sink=address.sink,
        subject=address.subject,
        ordering_key=address.subject,
        shown=address.shown,
        waits_for=address.waits_for,
        purpose=address.purpose,
        due_at=due_at,
        deadline_at=now + rule.deadline,
    )


def delivery_to_nobody(event: Event, subject: str, now: float, silenced_by: str | None = None) -> NewDelivery:
    """What stands in the ledger for an event that nobody is told of."""
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
