"""A bridge without I/O: polls of one controller through the whole core, with what a store would keep."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.diff import Change, PollPolicy, check_deadlines, compare
from cmc_notify.core.event_builder import EventBuilder
from cmc_notify.core.events import Event, EventType
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import Feature, Job, JobState, Names, Outcome, Pair, Row, TrackedFailure
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Route
from cmc_notify.core.silences import Silence

NAMES = Names({3: Feature(3, "qos", "QoS")}, {"V1": "paris-edge-1"})
EVERYWHERE = (Route(sinks=("chat", "mail")),)


def rows(**outcomes: str) -> tuple[Row, ...]:
    """Feature 3 on each named appliance; a failed one has a text."""
    return tuple(
        Row(serial, 3, Outcome(outcome), f"{serial} broke" if outcome == "failed" else None)
        for serial, outcome in outcomes.items()
    )


def ended(number: int, status: str, at: int, *details: Row, **fields: Any) -> Job:
    """A job created at 100, pushed ten seconds before its end at ``at``."""
    known: dict[str, Any] = {"creation_time": 100, "push_time": at - 10, "completion_time": at}
    return Job(id=number, status=status, rows=details, **known | fields)


def running(number: int, pushed: int, *details: Row) -> Job:
    """A job created at 100 that runs."""
    return Job(id=number, status="InProgress", creation_time=100, push_time=pushed, rows=details)


class Bridge:
    """Polls of one controller. Whatever it remembers goes through the store's JSON after each poll."""

    def __init__(self, routes: Sequence[Route] = EVERYWHERE, **rules: SinkProfile) -> None:
        self.routes = routes
        self.sinks = {"chat": SinkProfile(), "mail": SinkProfile()} | rules
        self.policy = PollPolicy(settle=0)
        self.states: dict[str, JobState] = {}
        self.incidents: dict[str, TrackedFailure] = {}
        self.silences: list[Silence] = []
        self.now = 1_000_000.0
        self.events: list[Event] = []
        """What the last poll told."""
        self.deliveries: list[NewDelivery] = []
        self.event_uids: dict[str, tuple[str, int]] = {}

    def poll(self, *jobs: Job, after: float = 15) -> list[str]:
        """One poll that finds these jobs; the types of what it tells, with the job's id."""
        self.now += after
        changes: dict[str, list[Change]] = {}
        seen = dict(self.states)
        for job in jobs:
            uid = f"{job.id}-{job.creation_time}"
            steps = compare(seen.get(uid), job, uid=uid, now=self.now, controller_now=400, policy=self.policy)
            if steps:
                seen[uid] = steps[-1].state
                changes.setdefault(uid, []).extend(steps)
        for uid, state in self.states.items():
            due = check_deadlines(state, now=self.now, controller_now=400, policy=self.policy)
            if uid not in changes and due:
                changes[uid] = [due]
        return self.announce(changes)

    def announce(self, changes: Mapping[str, Sequence[Change]]) -> list[str]:
        """Tell these changes, by uid."""

        def later(pair: Pair, order: tuple[int, int]) -> JobState | None:
            found = [
                state
                for uid, state in self.states.items()
                if uid not in changes
                and state.job.order > order
                and state.job.outcomes().get(pair) is Outcome.SUCCEEDED
            ]
            return min(found, key=lambda state: state.job.order, default=None)

        announcer = EventBuilder(
            "emea",
            now=self.now,
            names=NAMES,
            routes=self.routes,
            sinks=self.sinks,
            failures=FailureTracker("emea", self.incidents.values(), later),
            silences=self.silences,
            stored_job=self.states.get,
        )
        announcer.add_changes(changes.values())
        self.states |= _stored(announcer.states, JobState)
        self.incidents |= _stored({each.id: each for each in announcer.failures}, TrackedFailure)
        self.events, self.deliveries = announcer.events, announcer.deliveries
        self.event_uids = announcer.event_uids
        self.silences = [each for each in self.silences if each.id not in announcer.ended_silences]
        return [f"{event.job.id if event.job else '-'} {event.type.value}" for event in self.events]

    def close_by_hand(self) -> None:
        """The operator closes whatever is open."""
        for incident in self.open:
            self.incidents[incident.id] = replace(incident, closed_at=self.now, closed_by="operator")

    @property
    def open(self) -> list[TrackedFailure]:
        """The open incidents."""
        return [incident for incident in self.incidents.values() if incident.closed_at is None]

    def sent(self, kind: EventType) -> dict[str, NewDelivery]:
        """The last poll's deliveries of events of this type, by sink."""
        wanted = {event.id for event in self.events if event.type == kind}
        return {delivery.sink: delivery for delivery in self.deliveries if delivery.event_id in wanted}


T = TypeVar("T")


def _stored(things: Mapping[str, T], kind: type[T]) -> dict[str, T]:
    return {
        name: msgspec.json.decode(msgspec.json.encode(thing), type=kind) for name, thing in things.items()
    }
