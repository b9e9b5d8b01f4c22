"""A watcher that observes jobs one after the other."""

from typing import Any

import msgspec

from cmc_notify.core.diff import Change, PollPolicy, check_deadlines, compare, mark_vanished
from cmc_notify.core.model import Job, JobState, Outcome, Pair, Row

NOW = 1_000_000.0
POLICY = PollPolicy(settle=60, watch=600, overdue={"push": 3600})
P1, P2 = Pair("V1", 3), Pair("V2", 3)


def rows(**outcomes: str) -> tuple[Row, ...]:
    """``rows(V1="failed")``: feature 3 on each named appliance; a failed one has a text."""
    return tuple(
        Row(serial, 3, Outcome(outcome), f"{serial} broke" if outcome == "failed" else None)
        for serial, outcome in outcomes.items()
    )


def job(status: str, *details: Row, **fields: Any) -> Job:
    """Job 7, created at 100."""
    known: dict[str, Any] = {"operation": "push", "creation_time": 100}
    return Job(id=7, status=status, rows=details, **known | fields)


def failed(*details: Row, **fields: Any) -> Job:
    """Job 7, ended Failed at 300."""
    known: dict[str, Any] = {"push_time": 200, "completion_time": 300}
    return job(fields.pop("status", "Failed"), *details, **known | fields)


class Watcher:
    """Looks at one job again and again; its state goes through the store's JSON each time."""

    def __init__(self, policy: PollPolicy = POLICY) -> None:
        self.policy = policy
        self.now = NOW
        self.state: JobState | None = None
        self.last: list[Change] = []

    def compare(self, seen: Job, *, after: float = 15, controller_now: float = 310) -> list[str]:
        """One more observation; the types of what it announces."""
        self.now += after
        return self._take(
            compare(
                self.state, seen, uid="7-100", now=self.now, controller_now=controller_now, policy=self.policy
            )
        )

    def wait(self, seconds: float, *, controller_now: float = 310) -> list[str]:
        """Time passes without an observation."""
        self.now += seconds
        change = check_deadlines(self.known, now=self.now, controller_now=controller_now, policy=self.policy)
        return self._take([change] if change else [])

    def gone(self) -> list[str]:
        """The controller no longer has it."""
        return self._take([mark_vanished(self.known, now=self.now, controller_now=310, policy=self.policy)])

    @property
    def known(self) -> JobState:
        """Return the stored state."""
        assert self.state
        return self.state

    def is_open(self) -> bool:
        """Return True if each poll must observe it."""
        return self.known.open

    def new(self, kind: str) -> set[Pair]:
        """The pairs that the last observation's event of this type announces as new."""
        return {
            pair
            for change in self.last
            for draft in change.drafts
            if draft.type == kind
            for pair in draft.new
        }

    def _take(self, changes: list[Change]) -> list[str]:
        self.last = changes
        if changes:
            self.state = msgspec.json.decode(msgspec.json.encode(changes[-1].state), type=JobState)
            assert self.state == changes[-1].state
        return [draft.type.value for change in changes for draft in change.drafts]


def seen(*jobs: Job, policy: PollPolicy = POLICY) -> Watcher:
    """A watcher that has looked at these."""
    watcher = Watcher(policy)
    for each in jobs:
        watcher.compare(each)
    return watcher
