"""What must have been told of a controller, poll by poll, and which failures stand open to whom.

It follows what each committed poll was shown and what was written, and knows nothing of the bridge's code.
Every breach is an AssertionError that names the job and what was expected.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from support.model.controller import Answer
from support.model.job_life import WATCH, Life, Look, WirePair, read
from support.model.open_failures import RECOVERED, Standing
from support.model.stored import Notified

RANKS = (
    "job.reopened",
    "job.queued",
    "job.started",
    "job.progress",
    "appliance.failed",
    RECOVERED,
    "job.overdue",
    "job.vanished",
    "job.succeeded",
    "job.canceled",
    "job.failed",
)
FINALS = frozenset({"job.succeeded", "job.canceled", "job.failed"})
UNREACHABLE_AFTER = 2

States = Mapping[str, dict[str, Any]]
"""Last-seen states by uid, as stored."""


class ExpectedNotifications:
    """The model of one controller's past."""

    def __init__(self, first_run: str) -> None:
        self.first_run = first_run
        self.lives: list[Life] = []
        self.standing = Standing()
        self._begun = False
        self._failed_polls = 0
        self._lost: set[str] = set()
        self._transitions: set[tuple[str | None, int | None, str]] = set()
        self._forgotten: dict[str, Life] = {}

    # --- polls ----------------------------------------------------------------------------------------------

    def polled(
        self,
        answers: Sequence[Answer],
        told: list[Notified],
        *,
        now: float,
        states: States,
        incidents: dict[str, dict[str, Any]],
        look_ups: bool = True,
    ) -> None:
        """A poll went through and is committed. ``look_ups`` says that single jobs could be asked for."""
        due = ["controller.recovered"] if self._lost else []
        self._lost, self._failed_polls = set(), 0
        looks, fresh = self._looks(answers, states)
        asked = {a.job_id: [read(body) for body in a.bodies] for a in answers if a.job_id is not None}
        queues = self._queues(told, due)
        for life in self.lives:
            if life in fresh:
                types = self._begin(life, looks[life], now)
            elif life in looks:
                types = self._go_on(life, looks[life], now)
            else:
                types = self._unseen(life, asked, now, look_ups=look_ups)
            self._follow(life, types, queues)
        self._nothing_more(queues)
        self._begun = True
        self._agree(looks, states)
        self.standing.account(told, incidents, self.lives)

    def failed(
        self, told: list[Notified], *, now: float, refused: bool, incidents: dict[str, dict[str, Any]]
    ) -> None:
        """A poll failed, and that is committed: only what time brings is told of jobs."""
        self._failed_polls += 1
        due = []
        if refused and "unauthorized" not in self._lost:
            due = ["controller.unauthorized"]
            self._lost.add("unauthorized")
        elif not refused and "unreachable" not in self._lost and self._failed_polls >= UNREACHABLE_AFTER:
            due = ["controller.unreachable"]
            self._lost.add("unreachable")
        queues = self._queues(told, due)
        for life in self.lives:
            self._follow(life, life.expire(now), queues)
        self._nothing_more(queues)
        self.standing.account(told, incidents, self.lives)

    def forgot(self, states: States, incidents: dict[str, dict[str, Any]], listed: set[str]) -> set[str]:
        """Retention has run: what is gone was not open, not in the last full list, in no open failure.

        A job that it has forgotten is new when it comes again. Returns those.
        """
        named = self.standing.forgot(incidents)
        forgotten = [life for life in self.lives if life.uid not in states]
        for life in forgotten:
            assert not life.open, f"{life.uid} is open and was forgotten"
            assert life.uid not in listed, f"{life.uid} is listed and was forgotten"
            assert life.uid not in named, f"{life.uid} of an open failure was forgotten"
            self.lives.remove(life)
            self._forgotten[life.uid] = life
            self._transitions = {known for known in self._transitions if known[0] != life.uid}
        return {life.uid for life in forgotten}

    # --- jobs -----------------------------------------------------------------------------------------------

    def life_of(self, look: Look) -> Life | None:
        """The known job that a look is of: the one with its creation time, else the youngest that may be."""
        same = [life for life in reversed(self.lives) if life.names(look)]
        return next((life for life in same if life.last.created == look.created), same[0] if same else None)

    def _looks(self, answers: Sequence[Answer], states: States) -> tuple[dict[Life, list[Look]], set[Life]]:
        """What was seen of each job, and which of them were never seen before."""
        looks: dict[Life, list[Look]] = {}
        fresh = set()
        for body in (body for answer in answers for body in answer.bodies):
            if (look := read(body)) is None:
                continue
            life = self.life_of(look)
            if life is None:
                life = Life(look)
                self.lives.append(life)
                fresh.add(life)
            seen = looks.setdefault(life, [])
            if not seen or seen[-1] != look:
                seen.append(look)
        for life in list(fresh):
            self._name(life, looks, fresh, states)
        return looks, fresh

    def _name(self, life: Life, looks: dict[Life, list[Look]], fresh: set[Life], states: States) -> None:
        """Learn the store's name for a new job, or find that it is not new to a poller's memory."""
        created = next((look.created for look in looks[life] if look.created is not None), None)
        taken = {one.uid for one in self.lives}
        found = [
            uid
            for uid, state in states.items()
            if uid not in taken
            and state["job"]["id"] == life.last.id
            and state["job"]["creation_time"] == created
        ]
        before = [one for one in self._forgotten.values() if one.names(life.last)]
        if not found:
            assert any(one.last == looks[life][-1] for one in before), f"{life.last} is not in the store"
            self.lives.remove(life)
            fresh.remove(life)
            del looks[life]
            return
        [life.uid] = found
        self._forgotten.pop(life.uid, None)

    def _begin(self, life: Life, looks: Sequence[Look], now: float) -> Iterator[str]:
        silent = not self._begun and (
            self.first_run == "none" or (self.first_run == "open" and looks[0].finished)
        )
        yield from life.begin(silent=silent, now=now)
        yield from self._go_on(life, looks[1:], now)

    def _go_on(self, life: Life, looks: Sequence[Look], now: float) -> Iterator[str]:
        # What has not changed since the last poll is no look where the same poll sees more: details that are
        # there by now are told with the end that waited for them.
        if len(looks) > 1 and looks[0] == life.last:
            looks = looks[1:]
        for look in looks:
            yield from life.look(look, now)

    def _unseen(
        self, life: Life, asked: Mapping[int, list[Look | None]], now: float, *, look_ups: bool
    ) -> Iterator[str]:
        """In no answer: gone, or waiting for its details, or of no concern to this poll."""
        watched = (
            life.pending_told_at is not None and life.pending_told_at <= now < life.pending_told_at + WATCH
        )
        if look_ups and (life.open or (watched and not life.gone)):
            assert life.last.id in asked, f"job {life.last.id} had to be seen, and was not asked for"
        answer = asked.get(life.last.id, [None]) if look_ups else [None]
        # Nothing is there, or another job has its id. One that can't be read says neither.
        if (life.open or watched) and (
            not answer or any(look and self.life_of(look) is not life for look in answer)
        ):
            yield from life.vanish(now)
        else:
            yield from life.expire(now)

    # --- events ---------------------------------------------------------------------------------------------

    def _queues(self, told: Sequence[Notified], of_controller: Sequence[str]) -> dict[str, list[Notified]]:
        """The events of each job, recoveries apart, once those of the controller itself are judged."""
        alone = [event.type for event in told if event.uid is None]
        assert alone == of_controller, f"of the controller: {alone}, not {of_controller}"
        queues = defaultdict(list)
        for event in told:
            transition = (event.uid, event.revision, event.type)
            if event.uid is not None:
                assert transition not in self._transitions, f"told twice: {transition}"
                self._transitions.add(transition)
                if event.type != RECOVERED:
                    queues[event.uid].append(event)
        for one, other in pairwise(told):
            if (one.uid, one.revision) == (other.uid, other.revision) and one.uid is not None:
                assert RANKS.index(one.type) < RANKS.index(other.type), f"{one.type} before {other.type}"
        return queues

    def _follow(self, life: Life, types: Iterator[str], queues: dict[str, list[Notified]]) -> None:
        """Each type that is due was told, with the failures that are due; the life follows as it is read."""
        queue = queues.get(life.uid, [])
        for kind in types:
            self._skip_overdue(life, queue)
            assert queue, f"{life.uid}: {kind} was not told"
            event = queue.pop(0)
            assert event.type == kind, f"{life.uid}: {event.type} was told instead of {kind}"
            assert event.document["job"]["status"] == life.last.status
            pairs = {(f["serial"], f["feature_id"]) for f in event.document["failures"]}
            due: set[WirePair] = set()
            if kind in FINALS:
                due = life.last.failed
                assert event.document["job"]["details_pending"] == life.last.unsettled
            elif kind == "appliance.failed":
                due = life.last.failed - life.told - life.silent
            assert pairs == due, f"{life.uid}: {kind} tells of {pairs}, not of {due}"
            for failure in event.document["failures"]:
                pair = failure["serial"], failure["feature_id"]
                assert failure["new"] == (pair not in life.told), f"{life.uid}: {pair} new: {failure['new']}"
                assert failure["error_text"], f"{life.uid}: {pair} lost its text"
            life.told |= pairs
        self._skip_overdue(life, queue)

    def _skip_overdue(self, life: Life, queue: list[Notified]) -> None:
        """Once in a run, and only while it runs; when exactly is not judged here."""
        while queue and queue[0].type == "job.overdue":
            assert queue.pop(0).document["job"]["status"] == "InProgress"
            assert not life.overdue, f"{life.uid}: overdue twice in one run"
            life.overdue = True

    @staticmethod
    def _nothing_more(queues: Mapping[str, list[Notified]]) -> None:
        more = {uid: [event.type for event in queue] for uid, queue in queues.items() if queue}
        assert not more, f"told without cause: {more}"

    def _agree(self, looks: Mapping[Life, list[Look]], states: States) -> None:
        """The snapshot is what was last seen, and holds every job once."""
        for life in self.lives:
            state = states[life.uid]
            assert state["job"]["status"] == life.last.status
            # A finished job that is still watched may be found gone: nothing is told of that.
            assert state["vanished"] == life.gone or life.last.finished
            life.gone = state["vanished"]
            if life in looks:
                rows = {(r["serial"], r["feature_id"]): r["outcome"] for r in state["job"]["rows"]}
                assert rows == life.last.outcomes
        named = Counter((state["job"]["id"], state["job"]["creation_time"]) for state in states.values())
        assert not [name for name, count in named.items() if count > 1], f"two names for one job: {named}"
