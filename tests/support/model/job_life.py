"""What one job's life, as the polls saw it, must have told: a reading of the contract, not the bridge's code.

A poll that was committed has seen documents; :meth:`Life.look` says which event types each of them is due,
recoveries apart. Whether a pair is ``new`` follows from what was told before.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

SETTLE = 60.0
WATCH = 600.0
"""Seconds for which a job that was told without its details is looked up for more."""
FINAL = {"Success": "job.succeeded", "Failed": "job.failed", "Canceled": "job.canceled"}

WirePair = tuple[str | None, int | None]


class Look(NamedTuple):
    """One readable document, as far as telling depends on it."""

    id: int
    created: int | None
    pushed: int | None
    completed: int | None
    status: str
    outcomes: dict[WirePair, str]
    unsettled: bool
    """Failed without all its details."""

    @property
    def finished(self) -> bool:
        """Whether it has reached an end."""
        return self.status in FINAL

    @property
    def failed(self) -> set[WirePair]:
        """The pairs that are failed."""
        return {pair for pair, outcome in self.outcomes.items() if outcome == "failed"}

    @property
    def order(self) -> tuple[int, int]:
        """When it spoke last."""
        known = [time for time in (self.completed, self.pushed, self.created) if time is not None]
        return (known[0] if known else 0), self.id


def read(body: bytes) -> Look | None:
    """The look that a wire document gives; None where it is malformed."""
    document = json.loads(body)
    if not isinstance(document, dict) or not isinstance(document["detailed_status"], list):
        return None
    outcomes = {}
    for row in document["detailed_status"]:
        result = {"Fail": "failed", "Success": "succeeded", None: row["status"].lower()}[row.get("result")]
        outcomes[row.get("serialnum"), row.get("feature_id")] = result
    undone = any(outcome in ("pending", "running") for outcome in outcomes.values())
    return Look(
        id=document["id"],
        created=document.get("creation_time"),
        pushed=document.get("push_time"),
        completed=document.get("completion_time"),
        status=document["job_status"],
        outcomes=outcomes,
        unsettled=document["job_status"] == "Failed"
        and (undone or (not outcomes and not document.get("error_text"))),
    )


@dataclass(eq=False)
class Life:
    """One job from the first look on."""

    last: Look
    """As last seen, with the times that it showed in this run before."""
    told: set[WirePair] = field(default_factory=set)
    """Told failed in this run, and not seen otherwise since."""
    silent: set[WirePair] = field(default_factory=set)
    """Failed when the first poll recorded it silently."""
    final: str | None = None
    due: float | None = None
    """Until when a failure is held for its details."""
    pending_told_at: float | None = None
    """When the final event was told without the details."""
    gone: bool = False
    overdue: bool = False
    """Whether it was told as overdue in this run."""
    uid: str = ""
    """The store's name for it."""

    @property
    def open(self) -> bool:
        """Whether each poll must see it."""
        return not self.gone and (not self.last.finished or self.due is not None)

    def names(self, look: Look) -> bool:
        """Whether the look may be of it: only creation times that are both known and differ deny that."""
        return self.last.id == look.id and (
            self.last.created == look.created or None in (self.last.created, look.created)
        )

    def begin(self, *, silent: bool, now: float) -> Iterator[str]:
        """The first look."""
        look = self.last
        if silent:
            self.silent = set(look.failed)
            self.final = look.status if look.finished else None
            return
        if look.status == "Queued":
            yield "job.queued"
        if look.status == "InProgress":
            yield "job.started"
        yield from self._judge(look, now)

    def look(self, look: Look, now: float) -> Iterator[str]:
        """One more look; an equal one gives nothing."""
        before, self.gone = self.last, False
        if self._reruns(look):
            if self.due is not None:
                yield self._end(now)
            created = before.created if look.created is None else look.created
            self.last = look._replace(created=created)
            self.told, self.silent, self.final = set(), set(), None
            self.pending_told_at, self.overdue = None, False
            yield "job.reopened"
            if look.status == "InProgress":
                yield "job.started"
        else:
            self.last = look._replace(
                created=before.created if look.created is None else look.created,
                pushed=before.pushed if look.pushed is None else look.pushed,
                completed=before.completed if look.completed is None else look.completed,
            )
            otherwise = {pair for pair, outcome in look.outcomes.items() if outcome != "failed"}
            self.told -= otherwise
            self.silent -= otherwise
            if look.status == "InProgress":
                if before.status != "InProgress":
                    yield "job.started"
                elif before.outcomes != look.outcomes:
                    yield "job.progress"
        yield from self._judge(look, now)

    def expire(self, now: float) -> Iterator[str]:
        """Time has passed without another look."""
        if self.due is not None and now >= self.due:
            yield self._end(now)

    def vanish(self, now: float) -> Iterator[str]:
        """The controller no longer has it."""
        if self.due is not None:
            yield self._end(now)
        elif not self.last.finished:
            yield "job.vanished"
        self.gone = True

    def _reruns(self, look: Look) -> bool:
        if not (self.last.finished or self.final):
            return False
        if look.status in ("Queued", "InProgress"):
            return True
        times = ((self.last.pushed, look.pushed), (self.last.completed, look.completed))
        return look.finished and any(None not in pair and pair[0] != pair[1] for pair in times)

    def _judge(self, look: Look, now: float) -> Iterator[str]:
        ends = look.finished and look.status != self.final
        if ends and look.unsettled:
            self.due = self.due or now + SETTLE
            if now < self.due:
                return
        self.due = None
        # What an end other than Failed leaves failed is told apart, before it.
        if look.failed - self.told - self.silent and not (ends and look.status == "Failed"):
            yield "appliance.failed"
        if ends:
            yield self._end(now)

    def _end(self, now: float) -> str:
        self.due = None
        self.final = self.last.status
        self.pending_told_at = now if self.last.unsettled else None
        self.silent = set()
        return FINAL[self.last.status]
