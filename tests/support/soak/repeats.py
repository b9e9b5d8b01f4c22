"""Why a receiver got a message again: each repeat has one named cause, or is a violation.

A message that was refused (429, 500) is not repeated by coming again. One that was taken, or may have been,
comes again only where contact was lost before its taking was recorded, and the record shows where.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from support.soak.record import REFUSED, TAKEN, Arrival, Record

RECORDED_WITHIN = 1.0
"""Seconds that a replica may need, on a busy machine, from an answer to its record in the store."""


class Cause(StrEnum):
    """In the order in which they are looked for."""

    REFUSED = "refused by the receiver, no repeat"
    UNANSWERED = "the receiver cut the connection or did not answer"
    KILLED = "its sender was killed while it held the delivery"
    FROZEN = "its sender was frozen while it held the delivery"
    STORE = "the database was stopped before it could be recorded"
    SILENT = "the answer came too late for the sender"
    NONE = "no cause"


@dataclass(frozen=True)
class Repeat:
    """One message that came again, and why."""

    first: Arrival
    again: Arrival
    cause: Cause

    def __str__(self) -> str:
        """For people."""
        one, two = self.first, self.again
        return (
            f"{one.sink} got {one.document['type']} {one.key} again after {two.began - one.began:.3f} s:"
            f" {one.life} had {one.reply}, {two.life} sent it again"
        )


def repeats(record: Record) -> Iterator[Repeat]:
    """Every arrival but the first of its key, with its cause."""
    by_key: dict[tuple[str, str], list[Arrival]] = {}
    for arrival in sorted(record.arrivals, key=lambda arrival: arrival.began):
        by_key.setdefault((arrival.sink, arrival.key), []).append(arrival)
    for arrivals in by_key.values():
        for place, again in enumerate(arrivals[1:], 1):
            first = _explained_by(arrivals[:place])
            yield Repeat(first, again, _cause(record, first, again))


def _explained_by(before: Sequence[Arrival]) -> Arrival:
    """The arrival that needs a reason for another: one that was taken, whatever was refused after it, else
    one that may have been, else the last refusal.
    """
    return max(
        enumerate(before),
        key=lambda item: (item[1].reply in TAKEN, item[1].reply not in REFUSED, item[0]),
    )[1]


def _cause(record: Record, first: Arrival, again: Arrival) -> Cause:
    if first.reply in REFUSED:
        return Cause.REFUSED
    if first.reply not in TAKEN:
        return Cause.UNANSWERED
    causes = {
        Cause.KILLED: _killed,
        Cause.FROZEN: _frozen,
        Cause.STORE: _stopped,
        Cause.SILENT: _silent,
    }
    return next((cause for cause, holds in causes.items() if holds(record, first, again)), Cause.NONE)


def _killed(record: Record, first: Arrival, again: Arrival) -> bool:
    """The sender was killed, and left a lease on it. It sent the message before, but a busy receiver may read
    it only after the sender's death.
    """
    return any(
        kill.life == first.life
        and kill.at <= again.began
        and kill.leased is not None
        and first.key in kill.leased
        for kill in record.kills
    )


def _frozen(record: Record, first: Arrival, again: Arrival) -> bool:
    """Either sender was frozen with a lease on it: the one that sent first, or the one that woke late."""
    return any(
        freeze.life in {first.life, again.life}
        and freeze.began <= again.began
        and first.began <= freeze.ended + RECORDED_WITHIN
        and freeze.leased is not None
        and first.key in freeze.leased
        for freeze in record.freezes
    )


def _stopped(record: Record, first: Arrival, _again: Arrival) -> bool:
    """The database was gone when the taking was to be recorded."""
    ended = first.began if first.ended is None else first.ended
    return any(stop.began <= ended + RECORDED_WITHIN and first.began <= stop.ended for stop in record.stops)


def _silent(record: Record, first: Arrival, again: Arrival) -> bool:
    """The sender's log says that it wrote the request and heard nothing."""
    return any(
        (silence.life, silence.key) == (first.life, first.key)
        and first.began <= silence.at <= again.began + RECORDED_WITHIN
        for silence in record.silences
    )
