"""The events and deliveries that one poll writes, built from its changes.

Everything is decided here before the store is touched, so that snapshot, events, deliveries and failures
can be committed in one transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from cmc_notify.core.delivery import NewDelivery, Purpose
from cmc_notify.core.diff import Change, EventDraft
from cmc_notify.core.events import SEVERITY, Event, EventType, Recovery, event_id, failures, job_info, rfc3339
from cmc_notify.core.failures import FailureTracker, Notified, recovery
from cmc_notify.core.model import Job, JobState, Names, TrackedFailure
from cmc_notify.core.recipients import (
    Recipients,
    SinkProfile,
    controller_subject,
    delivery_id,
    delivery_to,
    delivery_to_nobody,
)
from cmc_notify.core.routing import Route
from cmc_notify.core.silences import Silence, silences_ended_by
from cmc_notify.core.ticketing import Recipient, job_subject, push_scope

_BEFORE_RECOVERIES = frozenset(
    {
        EventType.JOB_REOPENED,
        EventType.JOB_QUEUED,
        EventType.JOB_STARTED,
        EventType.JOB_PROGRESS,
        EventType.APPLIANCE_FAILED,
    }
)
_FINAL = frozenset({EventType.JOB_SUCCEEDED, EventType.JOB_CANCELED, EventType.JOB_FAILED})
"""The final events: each holds every failed pair, whether announced before or not."""


class EventBuilder:
    """Collects what one poll of one controller has to write. It is used for one poll only."""

    def __init__(
        self,
        controller: str,
        *,
        now: float,
        names: Names,
        routes: Sequence[Route],
        sinks: Mapping[str, SinkProfile],
        failures: FailureTracker,
        silences: Sequence[Silence] = (),
        stored_job: Callable[[str], JobState | None] = lambda _uid: None,
        controller_now: float | None = None,
    ) -> None:
        """``stored_job(uid)`` returns the state of a job that this poll does not change.

        ``controller_now`` is on the controller's clock.
        """
        self._controller = controller
        self._now = now
        self._controller_now = controller_now
        self._names = names
        self._sinks = sinks
        self._recipients = Recipients(controller, now=now, routes=routes, sinks=sinks, silences=silences)
        self._failures = failures
        self._silences = silences
        self._stored_job = stored_job
        self.events: list[Event] = []
        self.deliveries: list[NewDelivery] = []
        self.event_uids: dict[str, tuple[str, int]] = {}
        self.states: dict[str, JobState] = {}
        self.ended_silences: dict[str, None] = {}
        """Ids of the silences that end because their job ended."""

    @property
    def silenced(self) -> Mapping[str, str]:
        """By event id, a description of the silences that hid it from every sink."""
        return self._recipients.silenced

    @property
    def failures(self) -> tuple[TrackedFailure, ...]:
        """The failures to be written."""
        return self._failures.changed

    def add_changes(self, changes: Iterable[Sequence[Change]]) -> None:
        """Add the events of changes in the order of ``Job.order``, those of one job in the given order."""
        for change in _in_order(changes):
            self._add_change(change)

    def add_controller_event(
        self,
        kind: EventType,
        *,
        reason: str | None = None,
        since: float | None = None,
        silenced_by: str | None = None,
    ) -> str | None:
        """Add an event about the controller itself: unreachable, unauthorized or recovered.

        ``silenced_by`` is what silenced every event of the outage: then its end is silenced too. Returns a
        description of the silences that hid the event, or None.
        """
        event = self._new_event(kind, None, 0, reason=reason, since=rfc3339(since))
        self._write(event, None, self._recipients.for_controller(event, silenced_by))
        return self.silenced.get(event.id)

    def _add_change(self, change: Change) -> None:
        state = self._set_state(change.state)
        early = [draft for draft in change.drafts if draft.type in _BEFORE_RECOVERIES]
        for draft in early:
            self._add_event(draft, change)
        self._failures.update_order(state)
        self._recover(self._failures.recovered(state), state.uid, change.job)
        for draft in change.drafts:
            if draft not in early:
                self._add_event(draft, change)

    def _set_state(self, state: JobState) -> JobState:
        """Set the state to be written; keep what this poll has already noted in it."""
        before = self.states.get(state.uid)
        if before is not None:
            state = replace(
                state,
                followers=before.followers,
                ticketed=before.ticketed,
                progress_due=before.progress_due,
            )
        self.states[state.uid] = state
        return state

    def _add_event(self, draft: EventDraft, change: Change) -> None:
        uid, job = change.state.uid, change.job
        event = self._job_event(draft.type, uid, job, draft=draft)
        ended: list[TrackedFailure] = []
        if draft.type is EventType.JOB_SUCCEEDED:  # it ends pre-push failures, which have no pair, too
            ended = self._failures.recovered_prepush(self.states[uid], push_scope(job))
            self._failures.close(ended, self.states[uid], now=self._now)
        recipients = self._recipients.for_job(event, self.states[uid], self._failures, ended)
        if draft.type is EventType.JOB_PROGRESS and not recipients:
            return  # no sink shows it, so there is nothing to announce
        notified = self._write(event, uid, recipients)
        if draft.pairs:
            self._add_failures(event, uid, notified, repeats=draft.type in _FINAL)
            # A sink that is shown no pair, as all are silenced, has a ticket for the job's own error.
            notified = [replace(each, shown=None) for each in notified if each.ticket and each.shown == ()]
        if draft.type is EventType.JOB_FAILED:
            self._failures.add_prepush(
                event, self.states[uid], push_scope(job), now=self._now, notified=notified
            )

    def _add_failures(self, event: Event, uid: str, notified: Sequence[Notified], *, repeats: bool) -> None:
        overtaken = self._failures.add_failures(
            event, self.states[uid], now=self._now, notified=notified, repeats=repeats
        )
        for later_uid, ended in overtaken.items():
            if (later := self.states.get(later_uid) or self._stored_job(later_uid)) is not None:
                raised = self._set_state(replace(later, revision=later.revision + 1))
                self._recover(ended, later_uid, raised.job)

    def _recover(self, ended: Sequence[TrackedFailure], uid: str, job: Job) -> None:
        if not ended:
            return
        self._failures.close(ended, self.states[uid], now=self._now)
        recoveries = tuple(recovery(failure, self._names) for failure in ended)
        event = self._job_event(EventType.APPLIANCE_RECOVERED, uid, job, recoveries=recoveries)
        self._write(event, uid, self._recipients.for_recovery(uid, ended, self._failures))

    def _job_event(
        self,
        kind: EventType,
        uid: str,
        job: Job,
        *,
        draft: EventDraft | None = None,
        recoveries: tuple[Recovery, ...] = (),
    ) -> Event:
        """Return a new event about a job."""
        state = self.states[uid]
        return self._new_event(
            kind,
            uid,
            state.revision,
            job=job_info(
                job,
                self._names,
                previous_status=draft.previous_status if draft else state.previous_status,
                details_pending=bool(draft and draft.details_pending),
                controller_now=self._controller_now,
            ),
            failures=failures(job, self._names, draft.pairs, draft.new) if draft else (),
            recoveries=recoveries,
        )

    def _new_event(self, kind: EventType, uid: str | None, revision: int, **about: Any) -> Event:
        return Event(
            id=event_id(self._now, len(self.events), self._controller, uid, revision, kind),
            type=kind,
            time=rfc3339(self._now) or "",
            severity=SEVERITY[kind],
            controller=self._controller,
            **about,
        )

    def _write(self, event: Event, uid: str | None, recipients: Sequence[Recipient]) -> list[Notified]:
        """Note the event and its deliveries, and in the job's state which sinks show it.

        Returns the deliveries that notify people.
        """
        self.events.append(event)
        if uid is None:
            subject = controller_subject(self._controller)
        else:
            subject = job_subject(self._controller, uid)
            state = self.states[uid]
            self.event_uids[event.id] = (uid, state.revision)
            self.states[uid] = self._recipients.state_after(state, event, recipients)
        self.ended_silences.update(
            (each.id, None) for each in silences_ended_by(event, self._silences, subject=subject)
        )
        interim = (
            event.type is EventType.JOB_PROGRESS
        )  # hundreds for a job; the sinks that show it get them all
        if not recipients or (event.id in self.silenced and not interim):
            self.deliveries.append(delivery_to_nobody(event, subject, self._now, self.silenced.get(event.id)))
        due = self.states[uid].progress_due if uid and event.type is EventType.JOB_PROGRESS else self._now
        self.deliveries += [
            delivery_to(recipient, event, subject, self._sinks[recipient.sink], now=self._now, due_at=due)
            for recipient in recipients
        ]
        return [
            Notified(
                sink=recipient.sink,
                delivery=delivery_id(recipient, event, subject),
                shown=recipient.shown,
                ticket=recipient.subject if self._sinks[recipient.sink].tickets else None,
            )
            for recipient in recipients
            if recipient.purpose is Purpose.NOTIFY
        ]


def _in_order(changes: Iterable[Sequence[Change]]) -> list[Change]:
    """Return all changes by ``Job.order``; a rerun stays behind the end before it, whatever its time."""
    placed: list[tuple[tuple[int, int], Change]] = []
    for steps in changes:
        order = (0, 0)
        for change in steps:
            order = max(order, change.job.order)
            placed.append((order, change))
    return [change for _, change in sorted(placed, key=lambda pair: pair[0])]
