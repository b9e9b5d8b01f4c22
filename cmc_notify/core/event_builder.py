"""From changes to events, and from events to deliveries: what one poll writes.

Everything here is decided before the store is touched, so that snapshot, events, deliveries and incidents
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
from cmc_notify.core.silences import Silence, ending
from cmc_notify.core.ticketing import Recipient, job_subject, scope_of

_BEFORE_RECOVERIES = frozenset(
    {
        EventType.JOB_REOPENED,
        EventType.JOB_QUEUED,
        EventType.JOB_STARTED,
        EventType.JOB_PROGRESS,
        EventType.APPLIANCE_FAILED,
    }
)
_RETELL = frozenset({EventType.JOB_SUCCEEDED, EventType.JOB_CANCELED, EventType.JOB_FAILED})
"""The final events: each holds every failed pair, told before or not."""


class EventBuilder:
    """Collects what one poll of one controller has to write. Used once, then thrown away."""

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
        """``stored_job(uid)`` gives the state of a job that this poll does not change. ``controller_now`` is
        by the controller's clock.
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
        """Those that end with a job which ended."""

    @property
    def silenced(self) -> Mapping[str, str]:
        """By event, the silences that kept it from everybody, in words."""
        return self._recipients.silenced

    @property
    def failures(self) -> tuple[TrackedFailure, ...]:
        """The failures to be written."""
        return self._failures.changed

    def add_changes(self, changes: Iterable[Sequence[Change]]) -> None:
        """Tell changes in the order in which the jobs spoke, and those of one job as they came."""
        for change in _in_order(changes):
            self._announce_change(change)

    def add_controller_event(
        self,
        kind: EventType,
        *,
        reason: str | None = None,
        since: float | None = None,
        silenced_by: str | None = None,
    ) -> str | None:
        """Tell that the controller itself is lost, refuses us, or is back; returns what silenced that.

        ``silenced_by`` is what silenced all that was told of the outage, so that its end isn't told either.
        """
        event = self._made(kind, None, 0, reason=reason, since=rfc3339(since))
        self._write(event, None, self._recipients.of_controller(event, silenced_by))
        return self.silenced.get(event.id)

    def _announce_change(self, change: Change) -> None:
        state = self._keep(change.state)
        early = [draft for draft in change.drafts if draft.type in _BEFORE_RECOVERIES]
        for draft in early:
            self._tell(draft, change)
        self._failures.moved(state)
        self._recover(self._failures.recovered(state), state.uid, change.job)
        for draft in change.drafts:
            if draft not in early:
                self._tell(draft, change)

    def _keep(self, state: JobState) -> JobState:
        """Note the state to be written. What this poll has told of the job before stays noted in it."""
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

    def _tell(self, draft: EventDraft, change: Change) -> None:
        uid, job = change.state.uid, change.job
        event = self._event(draft.type, uid, job, draft=draft)
        ended: list[TrackedFailure] = []
        if draft.type is EventType.JOB_SUCCEEDED:  # it ends what no pair speaks of, too
            ended = self._failures.recovered_whole(self.states[uid], scope_of(job))
            self._failures.close(ended, self.states[uid], now=self._now)
        addresses = self._recipients.of_job(event, self.states[uid], self._failures, ended)
        if draft.type is EventType.JOB_PROGRESS and not addresses:
            return  # nobody shows it, so it is no news
        told = self._write(event, uid, addresses)
        if draft.pairs:
            self._fail(event, uid, told, retold=draft.type in _RETELL)
            # Who is shown none of the pairs, for they are silenced, has a ticket for the job's own error.
            told = [replace(each, shown=None) for each in told if each.ticket and each.shown == ()]
        if draft.type is EventType.JOB_FAILED:
            self._failures.fail_whole(event, self.states[uid], scope_of(job), now=self._now, told=told)

    def _fail(self, event: Event, uid: str, told: Sequence[Notified], *, retold: bool) -> None:
        overtaken = self._failures.fail(event, self.states[uid], now=self._now, told=told, retold=retold)
        for later_uid, incidents in overtaken.items():
            if (later := self.states.get(later_uid) or self._stored_job(later_uid)) is not None:
                raised = self._keep(replace(later, revision=later.revision + 1))
                self._recover(incidents, later_uid, raised.job)

    def _recover(self, incidents: Sequence[TrackedFailure], uid: str, job: Job) -> None:
        if not incidents:
            return
        self._failures.close(incidents, self.states[uid], now=self._now)
        recoveries = tuple(recovery(incident, self._names) for incident in incidents)
        event = self._event(EventType.APPLIANCE_RECOVERED, uid, job, recoveries=recoveries)
        self._write(event, uid, self._recipients.of_recovery(uid, incidents, self._failures))

    def _event(
        self,
        kind: EventType,
        uid: str,
        job: Job,
        *,
        draft: EventDraft | None = None,
        recoveries: tuple[Recovery, ...] = (),
    ) -> Event:
        """An event about a job."""
        state = self.states[uid]
        return self._made(
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

    def _made(self, kind: EventType, uid: str | None, revision: int, **about: Any) -> Event:
        return Event(
            id=event_id(self._now, len(self.events), self._controller, uid, revision, kind),
            type=kind,
            time=rfc3339(self._now) or "",
            severity=SEVERITY[kind],
            controller=self._controller,
            **about,
        )

    def _write(self, event: Event, uid: str | None, addresses: Sequence[Recipient]) -> list[Notified]:
        """Note event and deliveries to be written, and of the job who shows it; returns who is told what."""
        self.events.append(event)
        if uid is None:
            subject = controller_subject(self._controller)
        else:
            subject = job_subject(self._controller, uid)
            state = self.states[uid]
            self.event_uids[event.id] = (uid, state.revision)
            self.states[uid] = self._recipients.noted(state, event, addresses)
        self.ended_silences.update((each.id, None) for each in ending(event, self._silences, subject=subject))
        interim = event.type is EventType.JOB_PROGRESS  # hundreds a job, and who shows it follows all of them
        if not addresses or (event.id in self.silenced and not interim):
            self.deliveries.append(delivery_to_nobody(event, subject, self._now, self.silenced.get(event.id)))
        due = self.states[uid].progress_due if uid and event.type is EventType.JOB_PROGRESS else self._now
        self.deliveries += [
            delivery_to(address, event, subject, self._sinks[address.sink], now=self._now, due_at=due)
            for address in addresses
        ]
        return [
            Notified(
                sink=address.sink,
                delivery=delivery_id(address, event, subject),
                shown=address.shown,
                ticket=address.subject if self._sinks[address.sink].tickets else None,
            )
            for address in addresses
            if address.purpose is Purpose.NOTIFY
        ]


def _in_order(changes: Iterable[Sequence[Change]]) -> list[Change]:
    """By ``Job.order``; a rerun stays behind the end before it, also where its time is an earlier one."""
    placed: list[tuple[tuple[int, int], Change]] = []
    for steps in changes:
        order = (0, 0)
        for change in steps:
            order = max(order, change.job.order)
            placed.append((order, change))
    return [change for _, change in sorted(placed, key=lambda place: place[0])]
