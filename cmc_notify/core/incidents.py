"""Open failures: opened by a failure that is told, closed by a later success.

A ledger for one poll of one controller. Changes are applied in the order of ``Job.order``, so that what
was caught up together ends as if it had been seen one by one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from cmc_notify.core.events import Event, Failure, Recovery, rfc3339
from cmc_notify.core.model import Incident, JobState, Names, Outcome, Pair

Key = tuple[Pair, str]
"""A pair, and for one that is not fully named its job: nobody else's success can speak of it."""

Audience = dict[str, tuple[str, ...]]
"""Each sink that was told, with the deliveries that told it."""


class Incidents:
    """The incidents of one controller while a poll is worked out; ``changed`` is what to write."""

    def __init__(
        self,
        controller: str,
        known: Iterable[Incident],
        later_successes: Callable[[Pair, tuple[int, int]], JobState | None] = lambda _pair, _order: None,
    ) -> None:
        """``known`` holds the open incidents and, of the pairs at hand, the newest closed ones.

        ``later_successes(pair, order)`` names the first job after ``order`` that pushed the pair with
        success, among those that this poll does not change.
        """
        self._controller = controller
        self._open: dict[Key, Incident] = {}
        self._closed: dict[Key, Incident] = {}
        self._later_success = later_successes
        self._changed: dict[str, Incident] = {}
        for incident in known:
            where = self._open if incident.closed_at is None else self._closed
            where[_key(incident.pair, incident.last_job_uid)] = incident

    @property
    def changed(self) -> tuple[Incident, ...]:
        """Every incident that this poll opened, extended or closed."""
        return tuple(self._changed.values())

    def fail(
        self,
        event: Event,
        state: JobState,
        *,
        now: float,
        told: Mapping[str, tuple[str, Sequence[int] | None]],
        retold: bool,
    ) -> dict[str, list[Incident]]:
        """Open or extend an incident for each failure of ``event``.

        ``told`` maps each sink to its delivery's id and the indices it is shown (None: all). ``retold``
        says that the event tells known failures again (a final one), which opens anew what an earlier
        push had closed meanwhile, though never what an operator closed. Returns the incidents that a
        later push, known already, has ended: by that job's uid, for their recovery to be told at once.
        """
        overtaken: dict[str, list[Incident]] = {}
        for index, failure in enumerate(event.failures):
            pair = Pair(failure.serial, failure.feature_id)
            key = _key(pair, state.uid)
            audience: Audience = {
                sink: (delivery,)
                for sink, (delivery, shown) in told.items()
                if shown is None or index in shown
            }
            if incident := self._open.get(key):
                self._write(key, _extended(incident, failure, state, audience))
                continue
            later = self._overtaker(pair, state)
            if not failure.new and (later or not retold or self._closed_by_hand(key, state)):
                continue
            incident = Incident(
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
                audience=audience,
            )
            self._write(key, incident)
            if later:
                overtaken.setdefault(later.uid, []).append(incident)
        return overtaken

    def recovered(self, state: JobState) -> list[Incident]:
        """The open incidents that this job's successes end."""
        if not self._open:
            return []
        result = []
        for pair, outcome in state.job.outcomes().items():
            incident = self._open.get(_key(pair, state.uid))
            if (
                incident
                and outcome is Outcome.SUCCEEDED
                and (incident.last_job_uid == state.uid or state.job.order > incident.failed_order)
            ):
                result.append(incident)
        return result

    def close(self, incidents: Iterable[Incident], state: JobState, *, now: float) -> None:
        """Close them, ended by this job."""
        for incident in incidents:
            key = _key(incident.pair, incident.last_job_uid)
            del self._open[key]
            closed = replace(incident, closed_at=now, closed_by=f"job {state.job.id}")
            self._closed[key] = self._changed[closed.id] = closed

    def moved(self, state: JobState) -> None:
        """Follow a job whose order has changed (it has ended): what it left failed is younger now."""
        for pair in state.told:
            key = _key(pair, state.uid)
            incident = self._open.get(key)
            if incident and incident.last_job_uid == state.uid and incident.failed_order != state.job.order:
                self._write(key, replace(incident, failed_order=max(incident.failed_order, state.job.order)))

    def _write(self, key: Key, incident: Incident) -> None:
        self._open[key] = self._changed[incident.id] = incident

    def _overtaker(self, pair: Pair, state: JobState) -> JobState | None:
        """The later success that is known already. A job without any time may be later than all others."""
        later = self._later_success(pair, state.job.order) if pair.named else None
        if later is not None and later.job.order[0] and not state.job.order[0]:
            return None
        return later

    def _closed_by_hand(self, key: Key, state: JobState) -> bool:
        closed = self._closed.get(key)
        return closed is not None and closed.closed_by == "operator" and closed.last_job_uid == state.uid


def recovery(incident: Incident, names: Names) -> Recovery:
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


def _feature_name(event: Event, failure: Failure) -> str | None:
    features = event.job.features if event.job else ()
    return next((each.name for each in features if each.id == failure.feature_id), None)


def _extended(incident: Incident, failure: Failure, state: JobState, audience: Audience) -> Incident:
    together = dict(incident.audience)
    for sink, deliveries in audience.items():
        together[sink] = tuple(dict.fromkeys((*together.get(sink, ()), *deliveries)))
    later = state.job.order >= incident.failed_order
    return replace(
        incident,
        audience=together,
        error_text=failure.error_text if later else incident.error_text,
        last_job_uid=state.uid if later else incident.last_job_uid,
        failed_order=max(incident.failed_order, state.job.order),
    )
