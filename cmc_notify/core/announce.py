"""From changes to events, and from events to deliveries: what one poll writes.

Everything here is decided before the store is touched, so that snapshot, events, deliveries and incidents
can be committed in one transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.diff import Change, Draft
from cmc_notify.core.events import (
    SEVERITY,
    Event,
    EventType,
    Recovery,
    event_id,
    failures,
    job_info,
    rfc3339,
)
from cmc_notify.core.incidents import Incidents, recovery
from cmc_notify.core.model import Incident, Job, JobState, Names
from cmc_notify.core.routing import Route, route
from cmc_notify.core.silences import Silence, audible, ending
from cmc_notify.core.silences import reason as silences_in_words

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


class SinkRule(Struct, frozen=True, kw_only=True):
    """What of a sink's settings matters before anything is sent."""

    deadline: float = 86400.0
    """Seconds after which an undelivered message is a dead letter."""
    send_resolved: bool = True
    tickets: bool = False
    """Whether it opens and closes tickets, and is told only of what does either."""
    updates_every: float | None = None
    """For a sink that changes its messages in place and so wants ``job.progress``: how many seconds apart."""


class Announcer:
    """Collects what one poll of one controller has to write. Used once, then thrown away."""

    def __init__(
        self,
        controller: str,
        *,
        now: float,
        names: Names,
        routes: Sequence[Route],
        sinks: Mapping[str, SinkRule],
        incidents: Incidents,
        silences: Sequence[Silence] = (),
        stored_job: Callable[[str], JobState | None] = lambda _uid: None,
    ) -> None:
        """``stored_job(uid)`` gives the state of a job that this poll does not change."""
        self._controller = controller
        self._now = now
        self._names = names
        self._routes = routes
        self._sinks = sinks
        self._incidents = incidents
        self._silences = silences
        self._stored_job = stored_job
        self.events: list[Event] = []
        self.deliveries: list[NewDelivery] = []
        self.event_uids: dict[str, tuple[str, int]] = {}
        self.states: dict[str, JobState] = {}
        self.silenced: dict[str, str] = {}
        """By event, the silences that kept it from everybody, in words."""
        self.ended_silences: dict[str, None] = {}
        """Those that end with a job which ended."""

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """The incidents to be written."""
        return self._incidents.changed

    def announce(self, changes: Iterable[Sequence[Change]]) -> None:
        """Tell changes in the order in which the jobs spoke, and those of one job as they came."""
        for change in _in_order(changes):
            self._announce_change(change)

    def tell_controller(
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
        subject = f"controller:{self._controller}"
        event, _ = self._emit(
            kind, None, None, 0, subject=subject, reason=reason, since=since, silenced_by=silenced_by
        )
        return self.silenced.get(event.id)

    def _announce_change(self, change: Change) -> None:
        state = change.state
        self.states[state.uid] = state
        early = [draft for draft in change.drafts if draft.type in _BEFORE_RECOVERIES]
        for draft in early:
            self._tell(draft, change)
        self._incidents.moved(state)
        self._recover(self._incidents.recovered(state), state, change.job)
        for draft in change.drafts:
            if draft not in early:
                self._tell(draft, change)

    def _tell(self, draft: Draft, change: Change) -> None:
        state, job = change.state, change.job
        event, told = self._emit(draft.type, state, job, state.revision, draft=draft)
        if not draft.pairs:
            return
        overtaken = self._incidents.fail(event, state, now=self._now, told=told, retold=draft.type in _RETELL)
        for uid, incidents in overtaken.items():
            if (later := self.states.get(uid) or self._stored_job(uid)) is not None:
                raised = replace(later, revision=later.revision + 1)
                self.states[uid] = raised
                self._recover(incidents, raised, raised.job)

    def _recover(self, incidents: Sequence[Incident], state: JobState, job: Job) -> None:
        if not incidents:
            return
        self._incidents.close(incidents, state, now=self._now)
        self._emit(
            EventType.APPLIANCE_RECOVERED,
            state,
            job,
            state.revision,
            recoveries=tuple(recovery(incident, self._names) for incident in incidents),
            ended=incidents,
        )

    def _emit(
        self,
        kind: EventType,
        state: JobState | None,
        job: Job | None,
        revision: int,
        *,
        draft: Draft | None = None,
        recoveries: tuple[Recovery, ...] = (),
        ended: Sequence[Incident] = (),
        subject: str | None = None,
        reason: str | None = None,
        since: float | None = None,
        silenced_by: str | None = None,
    ) -> tuple[Event, dict[str, tuple[str, Sequence[int] | None]]]:
        """Make the event and its deliveries; returns what each sink is told by which delivery."""
        uid = state.uid if state else None
        event = Event(
            id=event_id(self._now, len(self.events), self._controller, uid, revision, kind),
            type=kind,
            time=rfc3339(self._now) or "",
            severity=SEVERITY[kind],
            controller=self._controller,
            reason=reason,
            since=rfc3339(since),
            job=job_info(
                job,
                self._names,
                previous_status=draft.previous_status if draft else state.previous_status,
                details_pending=bool(draft and draft.details_pending),
            )
            if job and state
            else None,
            failures=failures(job, self._names, draft.pairs, draft.new) if job and draft else (),
            recoveries=recoveries,
        )
        self.events.append(event)
        if state:
            self.event_uids[event.id] = (state.uid, revision)
            subject = f"job:{self._controller}:{state.uid}"
        assert subject is not None
        self.ended_silences.update((each.id, None) for each in ending(event, self._silences, subject=subject))
        return event, self._deliver(event, subject, ended, silenced_by)

    def _deliver(
        self, event: Event, subject: str, ended: Sequence[Incident], silenced_by: str | None
    ) -> dict[str, tuple[str, Sequence[int] | None]]:
        if event.recoveries:
            plan = self._followers(ended)
        else:
            updating = {name for name, rule in self._sinks.items() if rule.updates_every is not None}
            routed = route(event, self._routes, updating_sinks=updating)
            shown, by = audible(event, routed, self._silences, subject=subject, now=self._now)
            if silenced_by or (by and not shown):
                shown, self.silenced[event.id] = {}, silenced_by or silences_in_words(by)
            plan = {sink: (indices, ()) for sink, indices in shown.items()}
        told: dict[str, tuple[str, Sequence[int] | None]] = {}
        nowhere = "silenced" if event.id in self.silenced else "unrouted"
        for sink, (indices, waits_for) in plan.items() or {"": (None, ())}.items():
            delivery = NewDelivery(
                id=f"{event.id}-{sink or nowhere}",
                event_id=event.id,
                sink=sink,
                subject=subject,
                ordering_key=subject,
                shown=indices,
                waits_for=waits_for,
                silenced_by=self.silenced.get(event.id),
                due_at=self._now,
                deadline_at=self._now + (self._sinks[sink].deadline if sink else 0.0),
            )
            self.deliveries.append(delivery)
            if sink:
                told[sink] = (delivery.id, indices)
        return told

    def _followers(
        self, ended: Sequence[Incident]
    ) -> dict[str, tuple[tuple[int, ...] | None, tuple[str, ...]]]:
        """Recovery follows the opening: to whoever was told of each failure, after it was told."""
        plan: dict[str, tuple[tuple[int, ...] | None, tuple[str, ...]]] = {}
        for sink, rule in self._sinks.items():
            indices = tuple(i for i, incident in enumerate(ended) if sink in incident.audience)
            if not indices or not rule.send_resolved:
                continue
            waits_for = dict.fromkeys(key for i in indices for key in ended[i].audience[sink])
            plan[sink] = (None if len(indices) == len(ended) else indices, tuple(waits_for))
        return plan


def _in_order(changes: Iterable[Sequence[Change]]) -> list[Change]:
    """By ``Job.order``; a rerun stays behind the end before it, also where its time is an earlier one."""
    placed: list[tuple[tuple[int, int], Change]] = []
    for steps in changes:
        order = (0, 0)
        for change in steps:
            order = max(order, change.job.order)
            placed.append((order, change))
    return [change for _, change in sorted(placed, key=lambda place: place[0])]
