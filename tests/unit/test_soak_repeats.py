"""Test the causes of repeats, and late takeovers."""

from dataclasses import replace

import pytest

from cmc_notify.simulator import Row as DetailRow
from cmc_notify.simulator import Simulator
from support.soak.example_record import (
    FAILED,
    MENDED,
    Tamper,
    arrival,
    clean,
    judged,
    of,
    repeat_without_cause,
    starve,
    story,
)
from support.soak.history import runs
from support.soak.judge import judge
from support.soak.record import (
    Freeze,
    Kill,
    Look,
    Record,
    Run,
    Silence,
    Stop,
)
from support.soak.repeats import Cause


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

    result = judged(tamper)
    assert result.unexplained == []
    assert result.causes == {cause: 1}


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
    result = judge(record)
    assert [one.after for one in result.takeovers] == [7.0, 8.5]
    assert result.violations == []


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

    result = judged(tamper)
    assert [one.judged for one in result.takeovers] == [False]
    assert result.violations == []


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
