"""The judge of the soak, fed with a clean record and with records that were tampered with."""

from dataclasses import replace

import pytest

from support.soak.example_record import (
    Tamper,
    arrival,
    clean,
    judged,
    of,
    repeat_without_cause,
    starve,
    story,
)
from support.soak.judge import judge
from support.soak.plan import Plan
from support.soak.record import (
    End,
    Kill,
    Notified,
    Record,
    Row,
)
from support.soak.report import report, transitions


def test_a_clean_record_has_no_violation() -> None:
    """What was told once, whole and in order is found so, and counted."""
    result = judge(clean())
    assert result.violations == []
    assert transitions(clean()) == 5
    text = report(Plan(), clean(), result)
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
    result = judged(tamper)
    found = [line for line in result.violations if words in line]
    assert found, result.violations
    assert "FAILED" in report(Plan(), clean(), result)
