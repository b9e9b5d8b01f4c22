"""What a soak proves: nothing lost, no repeat without its cause, order kept, leaders replaced in time.

Each violation is one line that names what it speaks of. The judge is a plain function of the record; its own
tests feed it records with a lost event, a repeat without a cause, a swapped order.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from support.soak.notifications import told_wrongly
from support.soak.record import Arrival, Record
from support.soak.repeats import Cause, repeats
from support.soak.takeovers import Takeover, takeovers

Pair = tuple[str, str, int]
"""Controller, serial, feature id."""


@dataclass
class SoakResult:
    """What was found; ``violations`` is empty where the promise was kept."""

    losses: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    resolved_early: list[str] = field(default_factory=list)
    told_wrongly: list[str] = field(default_factory=list)
    late_takeovers: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    causes: Counter[Cause] = field(default_factory=Counter)
    takeovers: list[Takeover] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """All of them, each with its kind."""
        kinds = {
            "lost": self.losses,
            "repeated without a cause": self.unexplained,
            "out of order": self.order,
            "resolved before its trigger": self.resolved_early,
            "told wrongly": self.told_wrongly,
            "not taken over in time": self.late_takeovers,
            "other": self.other,
        }
        return [f"{kind}: {line}" for kind, lines in kinds.items() for line in lines]


def judge(record: Record) -> SoakResult:
    """The result on one soak."""
    found = list(repeats(record))
    taken = list(takeovers(record))
    result = SoakResult(
        losses=list(_losses(record)),
        unexplained=[str(repeat) for repeat in found if repeat.cause is Cause.NONE],
        causes=Counter(repeat.cause for repeat in found),
        takeovers=taken,
        late_takeovers=[str(one) for one in taken if one.late],
        other=list(_other(record)),
    )
    for sink in record.sinks:
        accepted = _accepted(record, sink)
        told = [arrival.document for arrival in accepted.values()]
        result.told_wrongly += (f"{sink}: {line}" for line in told_wrongly(told, record.runs))
        begun = _begun(record, sink)
        result.order += (f"{sink}: {line}" for line in _out_of_order(accepted, begun))
        result.resolved_early += (f"{sink}: {line}" for line in _resolved_early(accepted, begun))
    return result


def _accepted(record: Record, sink: str) -> dict[str, Arrival]:
    """By event id, the arrival by which the sink first accepted it, in the order of acceptance."""
    taken = (a for a in record.arrivals if a.sink == sink and a.reply == "200" and a.ended is not None)
    first: dict[str, Arrival] = {}
    for arrival in sorted(taken, key=lambda arrival: arrival.ended or 0.0):
        first.setdefault(arrival.document["id"], arrival)
    return first


def _begun(record: Record, sink: str) -> dict[str, float]:
    """When each event first reached the sink, however it was answered."""
    first: dict[str, float] = {}
    for arrival in record.arrivals:
        if arrival.sink == sink:
            event = arrival.document["id"]
            first[event] = min(arrival.began, first.get(event, arrival.began))
    return first


def _losses(record: Record) -> Iterator[str]:
    """Every event is due at every sink but the one it speaks of; the ledger's rows must say the same."""
    due = {(told.id, sink): told for told in record.told for sink in record.sinks if sink != told.about}
    got = {(event, sink) for sink in record.sinks for event in _accepted(record, sink)}
    states = {(row.event, row.sink): row.state for row in record.rows}
    for place, told in due.items():
        what = f"{place[1]} of {told.type} {told.id} ({told.controller} job {told.job})"
        if place not in got:
            yield f"{what} was never accepted; the ledger says {states.get(place, 'nothing of it')}"
        elif states.get(place) != "sent":
            yield f"{what} was accepted; the ledger says {states.get(place, 'nothing of it')}"
    for event, sink in sorted(got - due.keys()):
        yield f"{sink} accepted {event}, which the ledger does not know for it"
    for event, sink in sorted(states.keys() - due.keys()):
        yield f"the ledger has {event} for {sink!r}, where it is not due ({states[event, sink]})"


def _strange_keys(record: Record) -> Iterator[str]:
    """One key for each delivery, whoever sends it, however often."""
    keys = {(row.event, row.sink): row.key for row in record.rows}
    for arrival in record.arrivals:
        key = keys.get((arrival.document["id"], arrival.sink))
        if key is not None and arrival.key != key:
            event = arrival.document["id"]
            yield f"{arrival.life} sent {event} to {arrival.sink} as {arrival.key}, not as {key}"


def _out_of_order(accepted: dict[str, Arrival], begun: dict[str, float]) -> Iterator[str]:
    """An event of a job sets out once the one before it was accepted."""
    by_job: dict[tuple[str, int], list[Arrival]] = {}
    for arrival in sorted(accepted.values(), key=lambda arrival: str(arrival.document["id"])):
        document = arrival.document
        if document["job"]:
            by_job.setdefault((document["controller"], document["job"]["id"]), []).append(arrival)
    for (controller, job), arrivals in by_job.items():
        for one, two in pairwise(arrivals):
            if begun[two.document["id"]] < (one.ended or 0.0):
                yield (
                    f"{controller} job {job}: {two.document['type']} {two.key} came before"
                    f" {one.document['type']} {one.key} was accepted"
                )


def _resolved_early(accepted: dict[str, Arrival], begun: dict[str, float]) -> Iterator[str]:
    """A recovery sets out once every failure that it ends was accepted: those of its pair since the recovery
    before it. An older one, told late, was ended by that.
    """
    failures: dict[Pair, list[str]] = {}
    recoveries: dict[Pair, list[str]] = {}
    for event, arrival in accepted.items():
        for told, key in ((failures, "failures"), (recoveries, "recoveries")):
            for item in arrival.document[key]:
                place = (arrival.document["controller"], item["serial"], item["feature_id"])
                told.setdefault(place, []).append(event)
    for place, events in recoveries.items():
        for before, event in pairwise(["", *sorted(events)]):
            triggers = [one for one in failures.get(place, []) if before < one < event]
            late = [one for one in triggers if begun[event] < (accepted[one].ended or 0.0)]
            if late or not triggers:
                names = ", ".join(accepted[one].key for one in late) or "no failure at all"
                yield f"{place}: the recovery {accepted[event].key} came before {names}"


def _other(record: Record) -> Iterator[str]:
    """What nobody promised to survive, and what no replica may do."""
    if not record.drained:
        yield "not everything was told when the time was up"
    yield from record.bugs
    yield from _strange_keys(record)
    doubled = Counter(
        (told.controller, told.job, told.revision, told.type) for told in record.told if told.job is not None
    )
    for place, times in doubled.items():
        if times > 1:
            yield f"{place} is in the ledger {times} times"
    for end in record.ends:
        if not any(stop.began - 1 <= end.at <= stop.ended + 1 for stop in record.stops):
            yield f"{end.life} ended by itself with code {end.code}: {end.last}"
