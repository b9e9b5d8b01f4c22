"""How long a controller stayed without a poll after the replica that polled it had died or stood still."""

from collections.abc import Iterator
from dataclasses import dataclass

from support.soak.record import Freeze, Kill, Record

TAKEOVER_WITHIN = 10.0
"""Seconds from the death of the replica that polls a controller to another one's next poll of it, on a
machine that has a processor for half of the work; a busier one has in proportion more.
"""
_BUSY = 2.0
LED_WITHIN = 2.0
"""Seconds: a replica polls a controller, as far as its log can tell, if nobody polled it later and it did
so this recently.
"""


@dataclass(frozen=True)
class Takeover:
    """``after``: seconds until another life polled the controller; None: nobody did any more.

    A poll that the controller let fail counts, since a leader made it. ``judged`` is False where the
    database was stopped meanwhile, and with one replica: nobody can take over then.
    """

    controller: str
    life: str
    at: float
    after: float | None
    limit: float
    judged: bool

    @property
    def late(self) -> bool:
        """Whether it took longer than it may."""
        return self.judged and (self.after is None or self.after >= self.limit)

    def __str__(self) -> str:
        """For people."""
        how = (
            "nobody polled it again" if self.after is None else f"the next poll came {self.after:.1f} s later"
        )
        return f"{self.controller}, polled by {self.life}: {how} (limit {self.limit:.0f} s)"


def takeovers(record: Record) -> Iterator[Takeover]:
    """One for each controller of each leader that died or was frozen, until the end of the soak."""
    losses: list[Kill | Freeze] = [*record.kills, *record.freezes]
    for loss in losses:
        at = loss.at if isinstance(loss, Kill) else loss.began
        back = float("inf") if isinstance(loss, Kill) else loss.ended
        for controller in sorted(_polled(record, loss, at)):
            yield _takeover(record, controller, loss.life, at, back)


def _polled(record: Record, loss: Kill | Freeze, at: float) -> set[str]:
    """The controllers that the life led: by the store's word, and by its own latest polls."""
    newest = {look.controller: look for look in record.looks if look.at <= at}
    recent = {name for name, look in newest.items() if look.life == loss.life and at - look.at < LED_WITHIN}
    return recent | loss.led


def _takeover(record: Record, controller: str, life: str, at: float, back: float) -> Takeover:
    """``back``: when the life itself can go on."""
    then = next(
        (
            look.at
            for look in record.looks
            if look.controller == controller and look.at > at and (look.life != life or look.at > back)
        ),
        None,
    )
    end = at + (float("inf") if then is None else then - at)
    # A successor that dies before its first poll begins a wait of its own; this one ends with it.
    successors = [
        kill.at
        for kill in record.kills
        if at < kill.at < end and controller in kill.led and kill.life != life
    ]
    if successors:
        end = successors[0]
        then = end
    stopped = any(stop.began <= end and at <= stop.ended for stop in record.stops)
    after = None if then is None else end - at
    limit = TAKEOVER_WITHIN * max(1.0, _slowness(record, at, end) / _BUSY)
    return Takeover(controller, life, at, after, limit, judged=not stopped and record.replicas > 1)


def _slowness(record: Record, at: float, end: float) -> float:
    felt = [factor for when, factor in record.slowness if at <= when <= end]
    return sum(felt) / len(felt) if felt else 1.0
