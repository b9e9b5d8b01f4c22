"""Test failures whose details come late, watched jobs, and jobs that are overdue or gone."""

import pytest
from msgspec.structs import replace

from cmc_notify.core.diff import compact
from cmc_notify.core.model import Row
from support.job_watcher import P1, P2, POLICY, Watcher, failed, job, rows, seen

# --- settling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("details", [(), rows(V1="failed", V2="running"), rows(V1="pending")])
def test_a_failure_without_its_details_is_held_and_announced_in_time(details: tuple[Row, ...]) -> None:
    """It is announced after settle seconds at the latest, with the details so far, marked as pending."""
    watcher = Watcher()
    assert watcher.compare(failed(*details)) == []
    assert watcher.wait(59.9) == []
    assert watcher.wait(0.1) == ["job.failed"]
    draft = watcher.last[0].drafts[0]
    assert draft.details_pending
    assert draft.pairs == failed(*details).failed_pairs()
    assert [row.error_text for row in watcher.last[0].job.rows] == [row.error_text for row in details]


def test_a_failure_is_held_once() -> None:
    """Looks in between that change something do not put the end off."""
    watcher = seen(failed(*rows(V1="running", V2="running")))
    assert watcher.compare(failed(*rows(V1="failed", V2="running")), after=40) == []
    assert watcher.wait(20) == ["job.failed"]
    assert watcher.new("job.failed") == {P1}


def test_a_failure_is_announced_as_soon_as_its_details_are_there() -> None:
    """Complete details end the wait."""
    watcher = seen(failed())
    assert watcher.compare(failed(*rows(V1="failed"))) == ["job.failed"]
    assert not watcher.last[0].drafts[0].details_pending


def test_complete_details_are_not_pending_even_when_they_come_last_minute() -> None:
    """An observation after that time counts with the details that it shows."""
    watcher = seen(failed())
    assert watcher.compare(failed(*rows(V1="failed")), after=90) == ["job.failed"]
    assert not watcher.last[0].drafts[0].details_pending


def test_a_pre_push_failure_has_all_its_details() -> None:
    """An error text of the job itself explains it without any row."""
    assert Watcher().compare(failed(error_text="no route to anybody")) == ["job.failed"]


def test_settle_zero_holds_nothing() -> None:
    """With settle 0 it is announced at once."""
    assert Watcher(replace(POLICY, settle=0)).compare(failed()) == ["job.failed"]


def test_details_that_come_late_are_announced_separately() -> None:
    """After the final event, pairs that fail are appliance.failed, each once."""
    watcher = seen(failed())
    watcher.wait(60)
    assert watcher.compare(failed(*rows(V1="failed", V2="running"))) == ["appliance.failed"]
    assert watcher.compare(failed(*rows(V1="failed", V2="failed"))) == ["appliance.failed"]
    assert watcher.new("appliance.failed") == {P2}
    assert watcher.compare(failed(*rows(V1="failed", V2="failed"))) == []


def test_a_held_failure_that_turns_out_a_success_is_one() -> None:
    """Only the last end is announced."""
    watcher = seen(failed(*rows(V1="running")))
    assert watcher.compare(replace(failed(*rows(V1="succeeded")), status="Success")) == ["job.succeeded"]


def test_the_snapshot_drops_texts_except_of_what_is_held() -> None:
    """Texts are in the events; only a job whose end may be built from the snapshot keeps them."""
    watcher = seen(failed(*rows(V1="failed", V2="running")))
    assert watcher.known.job.rows[0].error_text == "V1 broke"
    watcher.wait(60)
    assert [row.error_text for row in watcher.known.job.rows] == [None, None]
    assert compact(failed(*rows(V1="failed"))).rows[0].error_text is None


# --- how long a job is looked at --------------------------------------------------------------------------


def test_a_job_is_watched_for_a_while_after_its_end() -> None:
    """Details may come late, so a job that just ended is looked up for ten more minutes."""
    watcher = seen(failed(*rows(V1="failed")))
    assert not watcher.is_open()
    assert watcher.known.watch_until == watcher.now + 600


def test_a_held_job_is_open_and_watched_from_when_it_is_announced() -> None:
    """The ten minutes begin after the settling."""
    watcher = seen(failed())
    assert watcher.is_open()
    watcher.wait(60)
    assert not watcher.is_open()
    assert watcher.known.watch_until == watcher.now + 600


def test_what_ended_long_ago_is_not_looked_up_again() -> None:
    """A first run with thousands of old jobs must not request each of them afterwards."""
    watcher = Watcher()
    watcher.compare(failed(*rows(V1="failed")), controller_now=901)
    assert watcher.known.watch_until is None
    watcher = Watcher(replace(POLICY, settle=0))
    watcher.compare(failed(), controller_now=901)
    assert watcher.known.watch_until == watcher.now + 600


# --- overdue, gone ----------------------------------------------------------------------------------------


def test_overdue_is_announced_once_by_the_controllers_clock() -> None:
    """Longer than the operation's limit since the push time, whatever our own clock says."""
    watcher = seen(job("InProgress", push_time=200))
    assert watcher.wait(10, controller_now=3800) == []
    assert watcher.wait(10, controller_now=3801) == ["job.overdue"]
    assert watcher.wait(10, controller_now=9999) == []
    assert watcher.compare(job("InProgress", *rows(V1="running"), push_time=200), controller_now=9999) == []


def test_overdue_counts_from_our_first_observation_where_no_push_time_is_known() -> None:
    """A job without a push time is overdue by how long we saw it run."""
    watcher = seen(job("InProgress"))
    assert watcher.wait(3600) == []
    assert watcher.wait(1) == ["job.overdue"]


def test_only_running_jobs_of_a_limited_operation_are_overdue() -> None:
    """Queued, finished and other operations' jobs never are; the operation's case does not matter."""
    for other in (job("Queued"), job("InProgress", operation="backup"), job("InProgress", operation=None)):
        assert "job.overdue" not in Watcher().compare(other, controller_now=99999)
    assert "job.overdue" in Watcher().compare(
        job("InProgress", operation="PUSH", push_time=200), controller_now=9999
    )


def test_an_open_job_that_is_gone_is_announced_once() -> None:
    """It is no longer looked for, and a finished one is gone without a word."""
    watcher = seen(job("InProgress"))
    assert watcher.gone() == ["job.vanished"]
    assert not watcher.is_open()
    ended = seen(failed(*rows(V1="failed")))
    assert ended.gone() == []
    assert ended.known.watch_until is None


def test_a_held_job_that_is_gone_gets_its_end() -> None:
    """The failure is announced from the snapshot, not lost, and not called vanished."""
    watcher = seen(failed(*rows(V1="failed", V2="running")))
    assert watcher.gone() == ["job.failed"]
    assert watcher.last[0].job.rows[0].error_text == "V1 broke"
    assert watcher.known.vanished
    assert not watcher.is_open()


def test_a_job_that_comes_back_goes_on() -> None:
    """Its end is announced as if it had never vanished."""
    watcher = seen(job("InProgress"))
    watcher.gone()
    assert watcher.compare(job("InProgress")) == []
    assert watcher.is_open()
    assert watcher.compare(job("Success")) == ["job.succeeded"]
