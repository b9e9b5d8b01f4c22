"""Open failures: opened by a failure that is announced, closed by a later success.

A tracker serves one poll of one controller. Changes are applied in the order of ``Job.order``, so that jobs
that are caught up together end as if each had been seen in its own poll.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from cmc_notify.core.events import Event, Failure, Recovery, rfc3339
from cmc_notify.core.model import JobState, Names, Outcome, Pair, TrackedFailure

Key = tuple[Pair, str]
"""A pair; one that is not fully named also has its job, as no other job can name the same pair."""

DeliveriesBySink = dict[str, tuple[str, ...]]
"""Each notified sink, with the ids of the deliveries that notified it."""

_NO_PAIR = Pair(None, None)


class Notified(Struct, frozen=True, kw_only=True):
    """One delivery of an event; ``shown`` holds the indices of its failures, None for all of them."""

    sink: str
    delivery: str
    shown: Sequence[int] | None
    ticket: str | None = None
    """The ticket's subject, at a sink that opens tickets."""


class FailureTracker:
    """The failures of one controller during one poll; ``changed`` holds those to write."""

    def __init__(
        self,
        controller: str,
        known: Iterable[TrackedFailure],
        later_successes: Callable[[Pair, tuple[int, int]], JobState | None] = lambda _pair, _order: None,
    ) -> None:
        """``known`` holds the open failures and the newest closed one of each pair of this poll.

        ``later_successes(pair, order)`` returns the first job after ``order`` that pushed the pair with
        success, among the jobs that this poll does not change.
        """
        self._controller = controller
        self._open: dict[Key, TrackedFailure] = {}
        self._prepush: dict[Key, TrackedFailure] = {}
        self._open_tickets: Counter[tuple[str, str]] = Counter()
        self._closed: dict[Key, TrackedFailure] = {}
        self._later_success = later_successes
        self._changed: dict[str, TrackedFailure] = {}
        for tracked in known:
            key = _key(tracked.pair, tracked.last_job_uid)
            if tracked.closed_at is None:
                self._set_open(key, tracked)
            else:
                self._closed[key] = tracked

    @property
    def changed(self) -> tuple[TrackedFailure, ...]:
        """Every failure that this poll opened, extended or closed."""
        return tuple(self._changed.values())

    def add_failures(
        self,
        event: Event,
        state: JobState,
        *,
        now: float,
        notified: Sequence[Notified],
        repeats: bool,
    ) -> dict[str, list[TrackedFailure]]:
        """Open or extend a tracked failure for each failure of ``event``.

        ``repeats`` means that the event holds known failures too (a final event). It opens again what an
        earlier push closed meanwhile, but never what an operator closed. Returns the failures that a later
        push, known already, has ended: by that job's uid, so that their recovery is announced at once.
        """
        overtaken: dict[str, list[TrackedFailure]] = {}
        deliveries = _by_failure(notified, len(event.failures), lambda each: each.delivery)
        tickets = _by_failure(notified, len(event.failures), lambda each: each.ticket)
        prepush = self._open.get(_key(_NO_PAIR, state.uid))
        if prepush is not None and prepush.scope is not None:
            # From now on its failed pairs represent it, and keep its tickets.
            self.close([prepush], state, now=now)
            deliveries = [_together(prepush.notified, ids) for ids in deliveries]
            tickets = [_together(prepush.tickets, subjects) for subjects in tickets]
        for index, failure in enumerate(event.failures):
            pair = Pair(failure.serial, failure.feature_id)
            key = _key(pair, state.uid)
            if tracked := self._open.get(key):
                extended = _extended(tracked, failure, state, deliveries[index])
                self._write(key, replace(extended, tickets=_together(tracked.tickets, tickets[index])))
                continue
            later = self._known_later_success(pair, state)
            if not failure.new and (later or not repeats or self._closed_by_operator(key, state)):
                continue
            tracked = TrackedFailure(
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
                notified=deliveries[index],
                tickets=tickets[index],
            )
            self._write(key, tracked)
            if later:
                overtaken.setdefault(later.uid, []).append(tracked)
        return overtaken

    def add_prepush(
        self, event: Event, state: JobState, scope: str, *, now: float, notified: Sequence[Notified]
    ) -> None:
        """Remember the tickets of a job that failed without a failed pair, usually before it reached any
        appliance, until a push of the same ``scope`` ends them. Without tickets it remembers nothing.
        """
        key = _key(_NO_PAIR, state.uid)
        tickets = _by_failure(notified, 1, lambda each: each.ticket)[0]
        if not tickets:
            return
        deliveries = _by_failure(notified, 1, lambda each: each.delivery)[0]
        if tracked := self._open.get(key):
            deliveries = _together(tracked.notified, deliveries)
            tickets = _together(tracked.tickets, tickets)
            self._write(
                key, replace(tracked, notified=deliveries, tickets=tickets, failed_order=state.job.order)
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
                notified=deliveries,
                tickets=tickets,
                scope=scope,
            ),
        )

    def recovered_prepush(self, state: JobState, scope: str) -> list[TrackedFailure]:
        """Return the pre-push failures that this job's success ends: its own, and earlier of its scope."""
        return [
            tracked
            for tracked in self._prepush.values()
            if tracked.last_job_uid == state.uid
            or (tracked.scope == scope and state.job.order > tracked.failed_order)
        ]

    def is_ticket_open(self, sink: str, subject: str) -> bool:
        """Return True if any open failure has this ticket."""
        return self._open_tickets[sink, subject] > 0

    def shown_before(self, sink: str, event: Event, state: JobState) -> tuple[int, ...]:
        """Return the indices of the failures of ``event`` that are open and that the sink was notified of."""
        found = []
        for index, failure in enumerate(event.failures):
            tracked = self._open.get(_key(Pair(failure.serial, failure.feature_id), state.uid))
            if tracked is not None and sink in tracked.notified:
                found.append(index)
        return tuple(found)

    def has_ticket(self, pair: Pair, sink: str, subject: str) -> bool:
        """Return True if the open failure of a fully named pair has this ticket at ``sink``."""
        tracked = self._open.get(_key(pair, ""))
        return tracked is not None and subject in tracked.tickets.get(sink, ())

    def recovered(self, state: JobState) -> list[TrackedFailure]:
        """Return the open failures that this job's successes end."""
        if not self._open:
            return []
        result = []
        for pair, outcome in state.job.outcomes().items():
            tracked = self._open.get(_key(pair, state.uid))
            if (
                tracked
                and tracked.scope is None
                and outcome is Outcome.SUCCEEDED
                and (tracked.last_job_uid == state.uid or state.job.order > tracked.failed_order)
            ):
                result.append(tracked)
        return result

    def close(self, ended: Iterable[TrackedFailure], state: JobState, *, now: float) -> None:
        """Close failures that this job ended."""
        for tracked in ended:
            key = _key(tracked.pair, tracked.last_job_uid)
            self._set_open(key, None)
            closed = replace(tracked, closed_at=now, closed_by=f"job {state.job.id}")
            self._closed[key] = self._changed[closed.id] = closed

    def update_order(self, state: JobState) -> None:
        """Follow a job whose order has changed because it ended: its failures are as late as the job now."""
        for pair in state.announced:
            key = _key(pair, state.uid)
            tracked = self._open.get(key)
            if tracked and tracked.last_job_uid == state.uid and tracked.failed_order != state.job.order:
                self._write(key, replace(tracked, failed_order=max(tracked.failed_order, state.job.order)))

    def _write(self, key: Key, tracked: TrackedFailure) -> None:
        self._changed[tracked.id] = tracked
        self._set_open(key, tracked)

    def _set_open(self, key: Key, tracked: TrackedFailure | None) -> None:
        """Set what is open under the key, and count its tickets: there may be ten thousand open failures,
        and each end asks for the ones left of its ticket.
        """
        before = self._open.pop(key, None)
        self._prepush.pop(key, None)
        if before is not None:
            self._open_tickets.subtract(_tickets(before))
        if tracked is not None:
            self._open[key] = tracked
            self._open_tickets.update(_tickets(tracked))
            if tracked.scope is not None:
                self._prepush[key] = tracked

    def _known_later_success(self, pair: Pair, state: JobState) -> JobState | None:
        """Return the later success that is known already.

        A job without any time may be later than all others.
        """
        later = self._later_success(pair, state.job.order) if pair.named else None
        if later is not None and later.job.order[0] and not state.job.order[0]:
            return None
        return later

    def _closed_by_operator(self, key: Key, state: JobState) -> bool:
        closed = self._closed.get(key)
        return closed is not None and closed.closed_by == "operator" and closed.last_job_uid == state.uid


def recovery(tracked: TrackedFailure, names: Names) -> Recovery:
    """Return the part of an event that describes an ended failure."""
    return Recovery(
        serial=tracked.serial,
        appliance=names.appliance(tracked.serial) or tracked.appliance,
        feature_id=tracked.feature_id,
        feature=names.feature(tracked.feature_id),
        failed_since=rfc3339(tracked.opened_at) or "",
        failed_job_id=tracked.job_id,
    )


def _key(pair: Pair, job_uid: str) -> Key:
    return pair, "" if pair.named else job_uid


def _tickets(tracked: TrackedFailure) -> list[tuple[str, str]]:
    return [(sink, subject) for sink, subjects in tracked.tickets.items() for subject in subjects]


def _feature_name(event: Event, failure: Failure) -> str | None:
    features = event.job.features if event.job else ()
    return next((each.name for each in features if each.id == failure.feature_id), None)


def _by_failure(
    notified: Iterable[Notified], count: int, value_of: Callable[[Notified], str | None]
) -> list[dict[str, tuple[str, ...]]]:
    """Return for each of ``count`` failures, by sink, the value of each delivery that shows it."""
    found: list[dict[str, tuple[str, ...]]] = [{} for _ in range(count)]
    for each in notified:
        value = value_of(each)
        if value is None:
            continue
        for index in range(count) if each.shown is None else each.shown:
            found[index][each.sink] = (*found[index].get(each.sink, ()), value)
    return found


def _together(
    one: Mapping[str, tuple[str, ...]], other: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the values of both by sink, each value once."""
    return {sink: tuple(dict.fromkeys((*one.get(sink, ()), *other.get(sink, ())))) for sink in [*one, *other]}


def _extended(
    tracked: TrackedFailure, failure: Failure, state: JobState, deliveries: DeliveriesBySink
) -> TrackedFailure:
    later = state.job.order >= tracked.failed_order
    return replace(
        tracked,
        notified=_together(tracked.notified, deliveries),
        error_text=failure.error_text if later else tracked.error_text,
        last_job_uid=state.uid if later else tracked.last_job_uid,
        failed_order=max(tracked.failed_order, state.job.order),
    )
