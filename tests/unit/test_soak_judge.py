"""The judge of the soak, fed with a clean record and with records that were tampered with."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cmc_notify.simulator import Row as DetailRow
from cmc_notify.simulator import Simulator
from support.soak.history import runs
from support.soak.judge import AttemptResult, judge
from support.soak.plan import Plan
from support.soak.record import (
    Arrival,
    End,
    Freeze,
    Kill,
    Look,
    Notified,
    Record,
    Reply,
    Row,
    Run,
    Silence,
    Stop,
)
from support.soak.repeats import Cause
from support.soak.report import report, transitions

PAIR = ("V1", 3)
FAILED = Run("cmc", 7, "Failed", None, {PAIR: "no disk"}, frozenset({("V2", 3)}))
MENDED = Run("cmc", 7, "Success", None, {}, frozenset({PAIR, ("V2", 3)}))

Tamper = Callable[[Record], None]


def failure(*, new: bool = True, text: str = "no disk") -> dict[str, Any]:
    """The one failed pair as events show it."""
    return {"serial": PAIR[0], "feature_id": PAIR[1], "error_text": text, "new": new}


def story() -> list[dict[str, Any]]:
    """What is told of a job that failed, was run again, and succeeded."""
    recovery = {"serial": PAIR[0], "feature_id": PAIR[1], "failed_job_id": 7}
    parts: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = [
        ("job.queued", [], []),
        ("appliance.failed", [failure()], []),
        ("job.failed", [failure(new=False)], []),
        ("job.reopened", [], []),
        ("appliance.recovered", [], [recovery]),
        ("job.succeeded", [], []),
    ]
    return [
        {
            "id": f"e{number}",
            "type": kind,
            "controller": "cmc",
            "job": {"id": 7, "error_text": None},
            "failures": failures,
            "recoveries": recoveries,
        }
        for number, (kind, failures, recoveries) in enumerate(parts)
    ]


def arrival(
    document: dict[str, Any], began: float, *, sink: str = "chat", life: str = "r1.1", reply: Reply = "200"
) -> Arrival:
    """A request that was answered a tenth of a second after it came."""
    return Arrival(sink, f"{document['id']}-{sink}", life, began, document, reply, began + 0.1)


def clean() -> Record:
    """Each event once at each sink, one a second."""
    sinks = ("chat", "tickets")
    record = Record(sinks=sinks, replicas=3, runs=[FAILED, MENDED])
    record.arrivals = [
        arrival(document, float(second), sink=sink)
        for second, document in enumerate(story())
        for sink in sinks
    ]
    revisions = (1, 2, 3, 4, 5, 5)
    record.told = [
        Notified(one["id"], one["type"], "cmc", 7, revision)
        for one, revision in zip(story(), revisions, strict=True)
    ]
    record.rows = [Row(f"{one['id']}-{sink}", one["id"], sink, "sent") for one in story() for sink in sinks]
    return record


def of(record: Record, number: int, sink: str = "chat") -> Arrival:
    """The first arrival of an event of the story."""
    return next(a for a in record.arrivals if (a.sink, a.document["id"]) == (sink, f"e{number}"))


def judged(tamper: Tamper) -> AttemptResult:
    """The verdict on the clean record after something was done to it."""
    record = clean()
    tamper(record)
    return judge(record)


def test_a_clean_record_has_no_violation() -> None:
    """What was told once, whole and in order is found so, and counted."""
    verdict = judge(clean())
    assert verdict.violations == []
    assert transitions(clean()) == 5
    text = report(Plan(), clean(), verdict)
    assert "transitions    5 in 2 runs" in text
    assert text.endswith("nothing lost, nothing twice without a cause")


def lose_at_one_sink(record: Record) -> None:
    """An event never reaches one of the sinks."""
    record.arrivals.remove(of(record, 0))


def lose_whole(record: Record) -> None:
    """The end of a run is in no ledger and reaches nobody."""
    record.arrivals = [one for one in record.arrivals if one.document["id"] != "e2"]
    record.told = [one for one in record.told if one.id != "e2"]
    record.rows = [one for one in record.rows if one.event != "e2"]


def lose_a_pair(record: Record) -> None:
    """A failed pair is told to one sink as known, and so never as new."""
    of(record, 1).document["failures"][0]["new"] = False


def shorten_a_text(record: Record) -> None:
    """An error text arrives cut."""
    of(record, 2).document["failures"][0]["error_text"] = "no"


def leave_a_failure_out(record: Record) -> None:
    """A job.failed lacks one of its failures."""
    of(record, 2).document["failures"].clear()


def refuse_for_ever(record: Record) -> None:
    """A delivery is only ever refused, and the ledger calls it dead."""
    of(record, 3).reply = "500"
    record.rows = [replace(one, state="dead") if one.key == "e3-chat" else one for one in record.rows]


def double_an_event(record: Record) -> None:
    """Another event tells the same end of the same run."""
    again = {**story()[5], "id": "e9"}
    record.arrivals += [arrival(again, 9.0, sink=sink) for sink in record.sinks]
    record.told = [*record.told, Notified("e9", "job.succeeded", "cmc", 7, 5)]
    record.rows = [*record.rows, *(Row(f"e9-{sink}", "e9", sink, "sent") for sink in record.sinks)]


def repeat_without_cause(record: Record) -> None:
    """What was accepted comes again, and nobody was killed."""
    record.arrivals.append(arrival(story()[0], 20.0, life="r2.1"))


def repeat_after_another_kill(record: Record) -> None:
    """The sender was killed, but held another delivery."""
    repeat_without_cause(record)
    record.kills.append(Kill(1.0, "r1.1", frozenset({"e1-chat"})))


def repeat_before_the_kill(record: Record) -> None:
    """The sender was killed, after the repeat."""
    repeat_without_cause(record)
    record.kills.append(Kill(30.0, "r1.1", frozenset({"e0-chat"})))


def repeat_twice_after_one_kill(record: Record) -> None:
    """One kill explains one repeat: the second sender lives."""
    record.kills.append(Kill(1.0, "r1.1", frozenset({"e0-chat"})))
    record.arrivals += [arrival(story()[0], 20.0, life="r2.1"), arrival(story()[0], 21.0, life="r3.1")]


def repeat_refused(record: Record) -> None:
    """What was accepted comes again, and is refused then: it came again."""
    record.arrivals.append(arrival(story()[0], 20.0, life="r2.1", reply="500"))


def swap(record: Record) -> None:
    """An end overtakes the failure before it."""
    of(record, 1).began, of(record, 1).ended = 2.5, 2.6


def set_out_early(record: Record) -> None:
    """The next event comes while the one before it is only refused so far."""
    of(record, 0).ended = 1.5


def resolve_early(record: Record) -> None:
    """A recovery arrives before the failure that it ends."""
    first, last = of(record, 1), of(record, 4)
    last.began, last.ended = 0.5, 0.6
    first.began, first.ended = 0.7, 0.8


def resolve_nothing(record: Record) -> None:
    """A recovery of a failure that was not told."""
    of(record, 1).document["failures"].clear()
    of(record, 2).document["failures"].clear()


def resolve_twice(record: Record) -> None:
    """One recovery is told twice."""
    of(record, 4).document["recoveries"].append(of(record, 4).document["recoveries"][0])


def collide(record: Record) -> None:
    """Two events of one type, job and revision stand in the ledger."""
    record.told = [*record.told, replace(record.told[-1], id="e9")]


def crash(record: Record) -> None:
    """A replica ended by itself."""
    record.ends.append(End(3.0, "r1.1", 1, "Traceback"))


def starve(record: Record) -> None:
    """Nobody polled a controller for long after its poller's death."""
    record.looks = [Look(1.0, "r1.1", "cmc", good=True), Look(12.0, "r2.1", "cmc", good=True)]
    record.kills.append(Kill(1.5, "r1.1", frozenset()))


def abandon(record: Record) -> None:
    """Nobody polled a controller any more."""
    record.kills.append(Kill(1.5, "r1.1", frozenset(), frozenset({"cmc"})))


def change_the_key(record: Record) -> None:
    """A message comes again under another key, by which nobody would know it again."""
    record.arrivals.append(replace(of(record, 0), key="e0-chat-2"))


def leave_work(record: Record) -> None:
    """The time was up before all was told."""
    record.drained = False


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (lose_at_one_sink, "lost: chat of job.queued e0"),
        (lose_whole, "told wrongly: tickets: cmc job 7 run 1: lost: job.failed was never told"),
        (lose_a_pair, "pair ('V1', 3) was told as new 0 times, expected 1"),
        (shorten_a_text, "says 'no', not 'no disk'"),
        (leave_a_failure_out, "job.failed lacks [('V1', 3)]"),
        (
            refuse_for_ever,
            "lost: chat of job.reopened e3 (cmc job 7) was never accepted; the ledger says dead",
        ),
        (double_an_event, "run 2: doubled: job.succeeded was told 2 times"),
        (repeat_without_cause, "repeated without a cause: chat got job.queued e0-chat again"),
        (repeat_after_another_kill, "repeated without a cause: chat got job.queued"),
        (repeat_before_the_kill, "repeated without a cause: chat got job.queued"),
        (repeat_twice_after_one_kill, "r2.1 had 200, r3.1 sent it again"),
        (repeat_refused, "repeated without a cause: chat got job.queued"),
        (swap, "out of order: chat: cmc job 7: job.failed e2-chat came before appliance.failed"),
        (set_out_early, "out of order: chat: cmc job 7: appliance.failed e1-chat came before job.queued"),
        (resolve_early, "resolved before its trigger: chat: ('cmc', 'V1', 3)"),
        (resolve_nothing, "came before no failure at all"),
        (resolve_twice, "recovery of ('cmc', 'V1', 3, 7): told 2 times, expected 1"),
        (collide, "is in the ledger 2 times"),
        (crash, "other: r1.1 ended by itself with code 1: Traceback"),
        (starve, "not taken over in time: cmc, polled by r1.1: the next poll came 10.5 s later"),
        (abandon, "not taken over in time: cmc, polled by r1.1: nobody polled it again"),
        (change_the_key, "other: r1.1 sent e0 to chat as e0-chat-2, not as e0-chat"),
        (leave_work, "other: not everything was told"),
    ],
)
def test_what_was_tampered_with_is_named(tamper: Tamper, words: str) -> None:
    """Each kind of fault is a violation that says what and where, and is reported."""
    verdict = judged(tamper)
    found = [line for line in verdict.violations if words in line]
    assert found, verdict.violations
    assert "FAILED" in report(Plan(), clean(), verdict)


def killed(record: Record) -> None:
    """The sender died with a lease on it."""
    record.kills.append(Kill(0.5, "r1.1", frozenset({"e0-chat"})))


def killed_before_it_was_read(record: Record) -> None:
    """The sender died with a lease on it, and the receiver read the message after that."""
    record.kills.append(Kill(of(record, 0).began - 0.01, "r1.1", frozenset({"e0-chat"})))


def frozen(record: Record) -> None:
    """The sender stood still with a lease on it."""
    record.freezes.append(Freeze(0.05, 19.0, "r1.1", frozenset({"e0-chat"})))


def woken(record: Record) -> None:
    """The one that sends again had stood still with a lease on it."""
    record.freezes.append(Freeze(-5.0, 19.0, "r2.1", frozenset({"e0-chat"})))


def stopped(record: Record) -> None:
    """The database was gone."""
    record.stops.append(Stop(0.05, 2.0))


def unheard(record: Record) -> None:
    """The sender heard no answer."""
    record.silences.append(Silence(0.9, "r1.1", "e0-chat"))


def cut(record: Record) -> None:
    """The receiver cut the connection."""
    of(record, 0).reply = "reset"


def refused(record: Record) -> None:
    """The receiver refused it."""
    of(record, 0).reply = "429"


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (killed, Cause.KILLED),
        (killed_before_it_was_read, Cause.KILLED),
        (frozen, Cause.FROZEN),
        (woken, Cause.FROZEN),
        (stopped, Cause.STORE),
        (unheard, Cause.SILENT),
        (cut, Cause.UNANSWERED),
        (refused, Cause.REFUSED),
    ],
)
def test_each_repeat_has_its_named_cause(reason: Tamper, cause: Cause) -> None:
    """A repeat that the record explains is counted under its cause, and is no violation of its own."""

    def tamper(record: Record) -> None:
        repeat_without_cause(record)
        reason(record)

    verdict = judged(tamper)
    assert verdict.unexplained == []
    assert verdict.causes == {cause: 1}


def test_an_older_failure_may_come_late() -> None:
    """A failure that an earlier recovery ended is no trigger of a later one."""
    record = clean()
    later = [
        {**one, "id": f"f{number}", "job": {"id": 8, "error_text": None}}
        for number, one in enumerate(story())
    ]
    del later[3]  # two jobs, so that only incidents tie the one to the other
    record.arrivals = [arrival(document, 1.0 + 0.2 * place) for place, document in enumerate(later)]
    record.arrivals += [arrival(document, 20.0 + place) for place, document in enumerate(story())]
    assert judge(record).resolved_early == []


def test_a_successor_that_dies_begins_a_wait_of_its_own() -> None:
    """Two leaders die one after the other: neither wait is judged by the end of both."""
    record = clean()
    record.looks = [Look(1.0, "r1.1", "cmc", good=True), Look(17.0, "r3.1", "cmc", good=False)]
    record.kills = [Kill(1.5, "r1.1", frozenset()), Kill(8.5, "r2.1", frozenset(), frozenset({"cmc"}))]
    verdict = judge(record)
    assert [one.after for one in verdict.takeovers] == [7.0, 8.5]
    assert verdict.violations == []


def test_a_busy_machine_has_more_time_to_take_over() -> None:
    """Where a second's work takes four, the limit is twice as long; where it takes two, it stands."""
    for slowness, late in ((2.0, 1), (4.0, 0)):
        record = clean()
        starve(record)
        record.slowness = [(5.0, slowness)]
        assert len(judge(record).late_takeovers) == late


def test_a_stopped_database_excuses_a_late_takeover() -> None:
    """Nobody can take over while the store is gone; the wait is reported, and not judged."""

    def tamper(record: Record) -> None:
        starve(record)
        record.stops.append(Stop(6.0, 8.0))

    verdict = judged(tamper)
    assert [one.judged for one in verdict.takeovers] == [False]
    assert verdict.violations == []


def test_runs_are_read_from_the_controllers_history() -> None:
    """Each run counts once, with the rows of its end, though its last version changed after the end."""
    sim = Simulator(speed=0)
    job = sim.jobs.add(feature_ids=[3])
    job.start()
    job.set_rows([DetailRow("V1", 3), DetailRow("V2", 3)])
    job.set_row("V2", 3, "Success")
    job.finish("Failed")
    job.set_row("V1", 3, "Fail", "no disk")
    job.rerun()
    for serial in ("V1", "V2"):
        job.set_row(serial, 3, "Success")
    job.finish("Success")
    other = sim.jobs.add(feature_ids=[3])
    other.cancel()
    assert runs("cmc", sim.history) == [
        replace(FAILED, job=job.id),
        replace(MENDED, job=job.id),
        Run("cmc", other.id, "Canceled", None, {}, frozenset()),
    ]
