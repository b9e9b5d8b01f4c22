"""A controller's histories, and a bridge that polls them."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st
from msgspec.structs import replace

from cmc_notify.core.delivery import NewDelivery
from cmc_notify.core.diff import PollPolicy
from cmc_notify.core.events import Event
from cmc_notify.core.model import Job, Outcome, Pair, Row
from cmc_notify.core.recipients import SinkProfile
from support.core_bridge import Bridge

World = dict[int, Job]
"""The controller's jobs at one moment, by id."""

FINAL = {"Success": "job.succeeded", "Failed": "job.failed", "Canceled": "job.canceled"}
ACTIONS = {
    None: ("create", "run", "run", "create"),
    "Queued": ("run", "run", "run", "nothing"),
    "InProgress": ("fail", "end", "succeed", "end", "fail", "end", "pause", "fail"),
    "Paused": ("go on", "go on", "nothing", "go on"),
}
AFTER_THE_END = ("run", "nothing", "requeue", "run")

scripts = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 7), st.integers(0, 5)), min_size=6, max_size=30
)


def play(script: Sequence[tuple[int, int, int]]) -> list[World]:
    """A controller's states, one for each step of the script, which names a job, an action, a detail."""
    world: World = {}
    history = []
    for time, (number, choice, pick) in enumerate(script, 1000):
        job = world.get(number)
        actions = AFTER_THE_END if job and job.finished else ACTIONS[job.status if job else None]
        changed = _act(world, actions[choice % len(actions)], number, pick, time)
        world = world | ({number: changed} if changed else {})
        history.append(world)
    return history


def _act(  # noqa: PLR0911  one line for each action
    world: World, action: str, number: int, pick: int, time: int
) -> Job | None:
    job = world.get(number) or Job(id=number, status="Queued", creation_time=time)
    match action:
        case "create":
            return job
        case "run":
            return _started(world, job, pick, time)
        case "requeue":
            return replace(job, status="Queued", push_time=None, completion_time=None, rows=())
        case "pause":
            return replace(job, status="Paused")
        case "go on":
            return replace(job, status="InProgress")
        case "fail" | "succeed":
            done = list(job.rows)
            place = pick % len(done)
            outcome = Outcome.FAILED if action == "fail" else Outcome.SUCCEEDED
            done[place] = replace(done[place], outcome=outcome)
            return replace(job, rows=tuple(done))
        case "end":
            rest = Outcome.FAILED if pick % 2 else Outcome.SUCCEEDED
            ended_rows = tuple(
                replace(row, outcome=rest) if row.outcome is Outcome.PENDING else row for row in job.rows
            )
            return replace(job, status=tuple(FINAL)[pick % 3], rows=ended_rows, completion_time=time)
    return None


def _started(world: World, job: Job, pick: int, time: int) -> Job | None:
    """Running; None where another job is busy with one of its appliances."""
    wanted = (("V1",), ("V2",), ("V1", "V2"))[pick % 3]
    busy = {
        row.serial
        for other in world.values()
        if other.status in ("InProgress", "Paused")
        for row in other.rows
    }
    if busy & set(wanted):
        return None
    fresh = tuple(Row(serial, 3, Outcome.PENDING) for serial in wanted)
    return replace(job, status="InProgress", push_time=time, completion_time=None, rows=fresh)


def ends(history: Sequence[World]) -> set[int]:
    """The steps that show the end of a run last, and the last step."""
    seen = {len(history) - 1}
    for step, (before, after) in enumerate(pairwise(history)):
        seen |= {step for number, job in before.items() if job.finished and after[number] != job}
    return seen


class Watched:
    """A bridge that polled some states of a history, with every event that it announced."""

    def __init__(self, worlds: Sequence[World], policy: PollPolicy | None = None) -> None:
        self.bridge = Bridge(chat=SinkProfile(updates_every=0.0))
        self.bridge.policy = policy or PollPolicy(settle=0, progress=True)
        self.polls: list[list[Event]] = []
        self.deliveries: list[NewDelivery] = []
        self.told: list[tuple[str, int, str]] = []
        for world in worlds:
            self.bridge.poll(*world.values())
            self.polls.append(self.bridge.events)
            self.deliveries += self.bridge.deliveries
            for event in self.bridge.events:
                self.told.append((*self.bridge.event_uids[event.id], event.type))

    @property
    def events(self) -> list[Event]:
        """All events in the order of telling."""
        return [event for poll in self.polls for event in poll]

    def of(self, number: int) -> list[Event]:
        """The events about one job."""
        return [event for event in self.events if event.job and event.job.id == number]

    def finals(self) -> dict[int, list[tuple[str, frozenset[Pair]]]]:
        """Each job's final events, with the failed pairs that each announces."""
        return {
            number: [
                (event.type.value, frozenset(Pair(f.serial, f.feature_id) for f in event.failures))
                for event in self.of(number)
                if event.type in FINAL.values()
            ]
            for number in (1, 2, 3)
        }

    def open(self) -> set[tuple[Pair, str]]:
        """The open failures: the pair and the job that failed it last."""
        return {(incident.pair, incident.last_job_uid) for incident in self.bridge.open}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[World], list[World]]:
    """A history, and a part of it that holds each run's end and the last state."""
    history = play(draw(scripts))
    kept = ends(history) | draw(st.sets(st.integers(0, len(history) - 1)))
    return history, [history[step] for step in sorted(kept)]
