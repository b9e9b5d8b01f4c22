"""Open failures: opened by a failure that is told, closed by a later success.

A ledger for one poll of one controller. Changes are applied in the order of ``Job.order``, so that what
was caught up together ends as if it had been seen one by one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.events import Event, Failure, Recovery, rfc3339
from cmc_notify.core.model import JobState, Names, Outcome, Pair, TrackedFailure

Key = tuple[Pair, str]
"""A pair, and for one that is not fully named its job: nobody else's success can speak of it."""

Audience = dict[str, tuple[str, ...]]
"""Each sink that was told, with the deliveries that told it."""

_WHOLE = Pair(None, None)


class Notified(Struct, frozen=True, kw_only=True):
    """One delivery of an event; ``shown`` holds the indices of its failures, None all of them."""

    sink: str
    delivery: str
    shown: Sequence[int] | None
    ticket: str | None = None
    """The ticket's subject, at a sink that opens tickets."""


class FailureTracker:
    """The incidents of one controller while a poll is worked out; ``changed`` is what to write."""

    def __init__(
        self,
        controller: str,
        known: Iterable[TrackedFailure],
        later_successes: Callable[[Pair, tuple[int, int]], JobState | None] = lambda _pair, _order: None,
    ) -> None:
        """``known`` holds the open incidents and, of the pairs at hand, the newest closed ones.

        ``later_successes(pair, order)`` names the first job after ``order`` that pushed the pair with
        success, among those that this poll does not change.
        """
        self._controller = controller
        self._open: dict[Key, TrackedFailure] = {}
        self._whole: dict[Key, TrackedFailure] = {}
        self._standing: Counter[tuple[str, str]] = Counter()
        self._closed: dict[Key, TrackedFailure] = {}
        self._later_success = later_successes
        self._changed: dict[str, TrackedFailure] = {}
        for incident in known:
            key = _key(incident.pair, incident.last_job_uid)
            if incident.closed_at is None:
                self._opened(key, incident)
            else:
                self._closed[key] = incident

    @property
    def changed(self) -> tuple[TrackedFailure, ...]:
        """Every incident that this poll opened, extended or closed."""
        return tuple(self._changed.values())

    def fail(
        self,
        event: Event,
        state: JobState,
        *,
        now: float,
        told: Sequence[Notified],
        retold: bool,
    ) -> dict[str, list[TrackedFailure]]:
        """Open or extend an incident for each failure of ``event``.

        ``retold`` says that the event tells known failures again (a final one), which opens anew what an
        earlier push had closed meanwhile, though never what an operator closed. Returns the incidents that
        a later push, known already, has ended: by that job's uid, for their recovery to be told at once.
        """
        overtaken: dict[str, list[TrackedFailure]] = {}
        audiences = _by_failure(told, len(event.failures), lambda each: each.delivery)
        tickets = _by_failure(told, len(event.failures), lambda each: each.ticket)
        whole = self._open.get(_key(_WHOLE, state.uid))
        if whole is not None and whole.scope is not None:
            # From now on its pairs stand for it, and for its tickets.
            self.close([whole], state, now=now)
            audiences = [_together(whole.notified, audience) for audience in audiences]
            tickets = [_together(whole.tickets, subjects) for subjects in tickets]
        for index, failure in enumerate(event.failures):
            pair = Pair(failure.serial, failure.feature_id)
            key = _key(pair, state.uid)
            if incident := self._open.get(key):
                extended = _extended(incident, failure, state, audiences[index])
                self._write(key, replace(extended, tickets=_together(incident.tickets, tickets[index])))
                continue
            later = self._overtaker(pair, state)
            if not failure.new and (later or not retold or self._closed_by_hand(key, state)):
                continue
            incident = TrackedFailure(
                id=f"{event.id}-{index}",
                controller=self._controller,
                serial=failure.serial,
                feature_id=failure.feature_id,
                feature=failure.feature,
                feature_name=_feature_name(event, failure),
                appliance=failure.appliance,
                error_text=failure.error_text,
                opened_at=now,
                opened_event=event.id,
                job_uid=state.uid,
                job_id=state.job.id,
                last_job_uid=state.uid,
                failed_order=state.job.order,
                notified=audiences[index],
                tickets=tickets[index],
            )
            self._write(key, incident)
            if later:
                overtaken.setdefault(later.uid, []).append(incident)
        return overtaken

    def fail_whole(
        self, event: Event, state: JobState, scope: str, *, now: float, told: Sequence[Notified]
    ) -> None:
        """Remember the tickets of a job that failed without a failed pair, before it reached any appliance as
        a rule, until a push of the same ``scope`` ends them. Without tickets there is nothing to remember.
        """
        key = _key(_WHOLE, state.uid)
        tickets = _by_failure(told, 1, lambda each: each.ticket)[0]
        if not tickets:
            return
        audience = _by_failure(told, 1, lambda each: each.delivery)[0]
        if incident := self._open.get(key):
            audience = _together(incident.notified, audience)
            tickets = _together(incident.tickets, tickets)
            self._write(
                key, replace(incident, notified=audience, tickets=tickets, failed_order=state.job.order)
            )
            return
        self._write(
            key,
            TrackedFailure(
                id=f"{event.id}-job",
                controller=self._controller,
                serial=None,
                feature_id=None,
                feature=None,
                appliance=None,
                error_text=event.job.error_text if event.job else None,
                opened_at=now,
                opened_event=event.id,
                job_uid=state.uid,
                job_id=state.job.id,
                last_job_uid=state.uid,
                failed_order=state.job.order,
                notified=audience,
                tickets=tickets,
                scope=scope,
            ),
        )

    def recovered_whole(self, state: JobState, scope: str) -> list[TrackedFailure]:
        """The failures of whole jobs that this job's success ends: its own, and earlier ones of its scope."""
        return [
            incident
            for incident in self._whole.values()
            if incident.last_job_uid == state.uid
            or (incident.scope == scope and state.job.order > incident.failed_order)
        ]

    def ticket_stands(self, sink: str, subject: str) -> bool:
        """Whether anything that is open now has this ticket."""
        return self._standing[sink, subject] > 0

    def told_to(self, sink: str, event: Event, state: JobState) -> tuple[int, ...]:
        """The indices of the failures of ``event`` that stand open and were told to the sink."""
        found = []
        for index, failure in enumerate(event.failures):
            incident = self._open.get(_key(Pair(failure.serial, failure.feature_id), state.uid))
            if incident is not None and sink in incident.notified:
                found.append(index)
        return tuple(found)

    def has_ticket(self, pair: Pair, sink: str, subject: str) -> bool:
        """Whether a ticket at ``sink`` stands for the open failure of a pair that is fully named."""
        incident = self._open.get(_key(pair, ""))
        return incident is not None and subject in incident.tickets.get(sink, ())

    def recovered(self, state: JobState) -> list[TrackedFailure]:
        """The open incidents that this job's successes end."""
        if not self._open:
            return []
        result = []
        for pair, outcome in state.job.outcomes().items():
            incident = self._open.get(_key(pair, state.uid))
            if (
                incident
                and incident.scope is None
                and outcome is Outcome.SUCCEEDED
                and (incident.last_job_uid == state.uid or state.job.order > incident.failed_order)
            ):
                result.append(incident)
        return result

    def close(self, incidents: Iterable[TrackedFailure], state: JobState, *, now: float) -> None:
        """Close them, ended by this job."""
        for incident in incidents:
            key = _key(incident.pair, incident.last_job_uid)
            self._opened(key, None)
            closed = replace(incident, closed_at=now, closed_by=f"job {state.job.id}")
            self._closed[key] = self._changed[closed.id] = closed

    def moved(self, state: JobState) -> None:
        """Follow a job whose order has changed (it has ended): what it left failed is younger now."""
        for pair in state.told:
            key = _key(pair, state.uid)
            incident = self._open.get(key)
            if incident and incident.last_job_uid == state.uid and incident.failed_order != state.job.order:
                self._write(key, replace(incident, failed_order=max(incident.failed_order, state.job.order)))

    def _write(self, key: Key, incident: TrackedFailure) -> None:
        self._changed[incident.id] = incident
        self._opened(key, incident)

    def _opened(self, key: Key, incident: TrackedFailure | None) -> None:
        """What is open under the key from now on, counted by its tickets: ten thousand may be, and each end
        asks what is left.
        """
        before = self._open.pop(key, None)
        self._whole.pop(key, None)
        if before is not None:
            self._standing.subtract(_tickets(before))
        if incident is not None:
            self._open[key] = incident
            self._standing.update(_tickets(incident))
            if incident.scope is not None:
                self._whole[key] = incident

    def _overtaker(self, pair: Pair, state: JobState) -> JobState | None:
        """The later success that is known already. A job without any time may be later than all others."""
        later = self._later_success(pair, state.job.order) if pair.named else None
        if later is not None and later.job.order[0] and not state.job.order[0]:
            return None
        return later

    def _closed_by_hand(self, key: Key, state: JobState) -> bool:
        closed = self._closed.get(key)
        return closed is not None and closed.closed_by == "operator" and closed.last_job_uid == state.uid


def recovery(incident: TrackedFailure, names: Names) -> Recovery:
    """How an ended incident is told."""
    return Recovery(
        serial=incident.serial,
        appliance=names.appliance(incident.serial) or incident.appliance,
        feature_id=incident.feature_id,
        feature=names.feature(incident.feature_id),
        failed_since=rfc3339(incident.opened_at) or "",
        failed_job_id=incident.job_id,
    )


def _key(pair: Pair, job_uid: str) -> Key:
    return pair, "" if pair.named else job_uid


def _tickets(incident: TrackedFailure) -> list[tuple[str, str]]:
    return [(sink, subject) for sink, subjects in incident.tickets.items() for subject in subjects]


def _feature_name(event: Event, failure: Failure) -> str | None:
    features = event.job.features if event.job else ()
    return next((each.name for each in features if each.id == failure.feature_id), None)


def _by_failure(
    told: Iterable[Notified], count: int, what: Callable[[Notified], str | None]
) -> list[dict[str, tuple[str, ...]]]:
    """Of each of ``count`` failures, by sink, what of each telling that shows it."""
    found: list[dict[str, tuple[str, ...]]] = [{} for _ in range(count)]
    for each in told:
        value = what(each)
        if value is None:
            continue
        for index in range(count) if each.shown is None else each.shown:
            found[index][each.sink] = (*found[index].get(each.sink, ()), value)
    return found


def _together(
    one: Mapping[str, tuple[str, ...]], other: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Both, by sink, each value once."""
    return {sink: tuple(dict.fromkeys((*one.get(sink, ()), *other.get(sink, ())))) for sink in [*one, *other]}


def _extended(
    incident: TrackedFailure, failure: Failure, state: JobState, audience: Audience
) -> TrackedFailure:
    later = state.job.order >= incident.failed_order
    return replace(
        incident,
        notified=_together(incident.notified, audience),
        error_text=failure.error_text if later else incident.error_text,
        last_job_uid=state.uid if later else incident.last_job_uid,
        failed_order=max(incident.failed_order, state.job.order),
    )
