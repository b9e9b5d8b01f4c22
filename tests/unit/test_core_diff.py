"""Two observations of a job give exactly its events, and nothing else."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from cmc_notify.core.diff import Change, PollPolicy, check_deadlines, compact, compare, mark_vanished
from cmc_notify.core.events import EventType
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


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("Queued", ["job.queued"]),
        ("InProgress", ["job.started"]),
        ("Success", ["job.succeeded"]),
        ("Canceled", ["job.canceled"]),
        ("Paused", []),
    ],
)
def test_a_first_observation_announces_the_present_state_and_no_other(status: str, told: list[str]) -> None:
    """A new job gives the event of the state that it is in; an unknown status gives none."""
    assert Watcher().compare(job(status)) == told


def test_each_observed_transition_is_announced() -> None:
    """Queued, started and the end are announced one by one, each with the status before."""
    watcher = Watcher()
    assert watcher.compare(job("Queued")) == ["job.queued"]
    assert watcher.compare(job("InProgress")) == ["job.started"]
    assert watcher.last[0].drafts[0].previous_status == "Queued"
    assert watcher.compare(job("Success")) == ["job.succeeded"]
    assert watcher.last[0].drafts[0].previous_status == "InProgress"


def test_a_transition_that_was_not_observed_is_not_announced() -> None:
    """From Queued to Success in one step there is no start to announce."""
    assert seen(job("Queued")).compare(job("Success")) == ["job.succeeded"]


@pytest.mark.parametrize("status", ["Queued", "InProgress", "Success", "Failed", "Canceled", "Paused"])
def test_a_second_observation_at_the_same_gives_nothing(status: str) -> None:
    """An unchanged job changes nothing, so nothing is written for it."""
    same = job(status, *rows(V1="failed", V2="succeeded"), push_time=200)
    watcher = seen(same)
    assert watcher.compare(same) == []
    assert watcher.last == []


def test_a_held_failure_seen_again_unchanged_gives_nothing() -> None:
    """While it settles, too, an unchanged job changes nothing."""
    watcher = seen(failed())
    assert watcher.compare(failed()) == []
    assert watcher.last == []


def test_pairs_that_fail_while_the_job_runs_are_announced_once() -> None:
    """Each newly failed pair is in one appliance.failed; the end lists all and marks only the rest new."""
    watcher = seen(job("InProgress", *rows(V1="running", V2="running")))
    assert watcher.compare(job("InProgress", *rows(V1="failed", V2="running"))) == ["appliance.failed"]
    assert watcher.new("appliance.failed") == {P1}
    assert watcher.compare(failed(*rows(V1="failed", V2="failed"))) == ["job.failed"]
    assert watcher.new("job.failed") == {P2}
    assert watcher.last[0].drafts[0].pairs == {P1, P2}


def test_started_and_failed_pairs_at_once_come_in_order() -> None:
    """A first observation of a running job with failed pairs announces the start, then the pairs."""
    assert Watcher().compare(job("InProgress", *rows(V1="failed"))) == ["job.started", "appliance.failed"]


@pytest.mark.parametrize(("status", "told"), [("Success", "job.succeeded"), ("Canceled", "job.canceled")])
def test_failed_pairs_of_a_job_that_does_not_end_failed(status: str, told: str) -> None:
    """They have an event of their own, before the final one, which names every failed pair, none as new."""
    watcher = seen(job("InProgress", *rows(V1="failed")))
    assert watcher.compare(job(status, *rows(V1="failed", V2="failed"))) == ["appliance.failed", told]
    first, final = watcher.last[0].drafts
    assert (first.pairs, first.new) == (frozenset({P2}), frozenset({P2}))
    assert (final.pairs, final.new) == (frozenset({P1, P2}), frozenset())


def test_a_pair_that_recovered_in_between_is_newly_failed_again() -> None:
    """Seen not failed in between, it is announced again; an absent row is not that."""
    watcher = seen(job("InProgress", *rows(V1="failed")))
    assert watcher.compare(job("InProgress")) == []
    assert watcher.compare(job("InProgress", *rows(V1="failed"))) == []
    assert watcher.compare(job("InProgress", *rows(V1="running"))) == []
    assert watcher.compare(job("InProgress", *rows(V1="failed"))) == ["appliance.failed"]


def test_progress_is_announced_if_a_sink_wants_it_and_outcomes_changed() -> None:
    """Another text alone is no progress; without an updating sink there is none at all."""
    before, after = rows(V1="pending"), rows(V1="running")
    watcher = seen(job("InProgress", *before), policy=replace(POLICY, progress=True))
    assert watcher.compare(job("InProgress", *before, timestamp=9)) == []
    assert watcher.compare(job("InProgress", *after)) == ["job.progress"]
    assert watcher.compare(job("Success", *rows(V1="succeeded"))) == ["job.succeeded"]
    assert seen(job("InProgress", *before)).compare(job("InProgress", *after)) == []


# --- reruns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["Success", "Failed", "Canceled"])
@pytest.mark.parametrize(("status", "then"), [("Queued", []), ("InProgress", ["job.started"])])
def test_a_finished_job_that_is_open_again_is_reopened(end: str, status: str, then: list[str]) -> None:
    """The rerun is announced first, with the status before it, then its present state."""
    watcher = seen(job(end, *rows(V1="failed")))
    assert watcher.compare(job(status)) == ["job.reopened", *then]
    assert watcher.last[0].drafts[0].previous_status == end


@pytest.mark.parametrize("field", ["push_time", "completion_time"])
def test_another_known_time_on_a_finished_job_is_a_rerun(field: str) -> None:
    """It ended again, and every failed pair of the new run is new."""
    watcher = seen(failed(*rows(V1="failed")))
    assert watcher.compare(failed(*rows(V1="failed"), **{field: 301})) == ["job.reopened", "job.failed"]
    assert watcher.new("job.failed") == {P1}


@pytest.mark.parametrize("field", ["push_time", "completion_time"])
def test_a_time_that_comes_or_goes_is_no_rerun(field: str) -> None:
    """Details may follow the status, and a known time is kept where it is no longer shown."""
    watcher = seen(failed(*rows(V1="failed"), **{field: None}))
    assert watcher.compare(failed(*rows(V1="failed"))) == []
    assert watcher.compare(failed(*rows(V1="failed"), **{field: None})) == []
    assert watcher.compare(failed(*rows(V1="failed"), **{field: 999}))[0] == "job.reopened"


def test_a_rerun_ends_the_settling_of_the_run_before() -> None:
    """The settling end is announced with the details so far, before the new run."""
    watcher = seen(failed(*rows(V1="failed", V2="running")))
    assert watcher.compare(job("InProgress")) == ["job.failed", "job.reopened", "job.started"]
    assert watcher.new("job.failed") == {P1}
    assert [change.state.revision for change in watcher.last] == [2, 3]


def test_a_rerun_keeps_the_jobs_creation_time() -> None:
    """It is part of the job's name, so it stays where a later run does not show it."""
    watcher = seen(failed(*rows(V1="failed")))
    watcher.compare(job("InProgress", creation_time=None))
    assert watcher.known.job.creation_time == 100


def test_a_rerun_starts_with_a_clean_slate() -> None:
    """Overdue warnings and announced pairs belong to one run."""
    running = job("InProgress", *rows(V1="failed"), push_time=200)
    watcher = Watcher()
    assert watcher.compare(running, controller_now=3801)[-1] == "job.overdue"
    watcher.compare(failed(*rows(V1="failed")))
    again = replace(running, push_time=5000)
    assert watcher.compare(again, controller_now=8601) == [
        "job.reopened", "job.started", "appliance.failed", "job.overdue",
    ]  # fmt: skip


def test_a_changed_final_status_is_announced() -> None:
    """Another end at the same times is an end of its own."""
    assert seen(failed(*rows(V1="failed"))).compare(
        replace(failed(*rows(V1="succeeded")), status="Success")
    ) == ["job.succeeded"]


def test_an_unknown_status_stops_nothing() -> None:
    """It counts as open: pairs are announced meanwhile and the end when it comes."""
    watcher = seen(job("InProgress"))
    assert watcher.compare(job("Rolling back", *rows(V1="failed"))) == ["appliance.failed"]
    assert watcher.is_open()
    assert watcher.compare(failed(*rows(V1="failed"))) == ["job.failed"]


def test_a_rerun_is_one_also_behind_an_unknown_status() -> None:
    """A word that nobody knows between the end and the rerun hides neither."""
    watcher = seen(failed(*rows(V1="failed")))
    assert watcher.compare(failed(*rows(V1="failed"), status="Archiving")) == []
    assert watcher.compare(job("InProgress", *rows(V1="failed"))) == [
        "job.reopened", "job.started", "appliance.failed",
    ]  # fmt: skip


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


# --- first run --------------------------------------------------------------------------------------------

OPEN = job("InProgress", *rows(V1="failed"))
DONE = failed(*rows(V1="failed"))


@pytest.mark.parametrize(
    ("rule", "open_told", "done_told"),
    [
        ("none", [], []),
        ("open", ["job.started", "appliance.failed"], []),
        ("all", ["job.started", "appliance.failed"], ["job.failed"]),
        (10.0, ["job.started", "appliance.failed"], ["job.failed"]),
        (9.0, ["job.started", "appliance.failed"], []),
        (None, ["job.started", "appliance.failed"], ["job.failed"]),
    ],
)
def test_the_first_run_rule(rule: Any, open_told: list[str], done_told: list[str]) -> None:
    """It decides which of the jobs at the start are announced; a duration counts from their completion."""
    policy = replace(POLICY, first_run=rule)
    assert Watcher(policy).compare(OPEN, controller_now=310) == open_told
    assert Watcher(policy).compare(DONE, controller_now=310) == done_told


def test_a_silently_recorded_job_is_not_announced_later() -> None:
    """A silent job seen again gives nothing, and its silent pairs are not newly failed."""
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(OPEN)
    silent.compare(DONE)
    silent.policy = POLICY
    assert silent.compare(DONE) == []
    late = failed(*rows(V1="failed", V2="failed"))
    assert silent.compare(late) == ["appliance.failed"]
    assert silent.new("appliance.failed") == {P2}


def test_the_end_of_a_silently_recorded_job_announces_everything() -> None:
    """job.failed marks pairs new that nothing has announced before, silent ones too."""
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(OPEN)
    silent.policy = POLICY
    assert silent.compare(job("InProgress", *rows(V1="failed"), timestamp=5)) == []
    assert silent.compare(DONE) == ["job.failed"]
    assert silent.new("job.failed") == {P1}


@pytest.mark.parametrize(("status", "kind"), [("Success", "job.succeeded"), ("Canceled", "job.canceled")])
def test_a_silent_pair_is_new_in_the_end_that_announces_it_first(status: str, kind: str) -> None:
    """An end without failure may be the first event with a silently recorded pair: it marks it new."""
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(job("InProgress", *rows(V1="failed")))
    silent.policy = POLICY
    assert silent.compare(job(status, *rows(V1="failed"))) == [kind]
    assert silent.new(kind) == {P1}


def test_a_job_overdue_at_the_first_observation_is_not_announced_by_the_second() -> None:
    """Silence covers a push that had run too long already; one that comes to do so later is announced."""
    running = job("InProgress", push_time=200)
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(running, controller_now=9000)
    silent.policy = POLICY
    assert silent.wait(10, controller_now=9010) == []
    punctual = Watcher(replace(POLICY, first_run="none"))
    punctual.compare(running, controller_now=310)
    punctual.policy = POLICY
    assert punctual.wait(10, controller_now=9010) == ["job.overdue"]


def test_a_silent_pair_seen_otherwise_is_announced_when_it_fails_again() -> None:
    """Silence covers the failure that was there, not a later one."""
    silent = Watcher(replace(POLICY, first_run="none"))
    silent.compare(OPEN)
    silent.policy = POLICY
    silent.compare(job("InProgress", *rows(V1="running")))
    assert silent.compare(OPEN) == ["appliance.failed"]


def test_a_silent_failure_does_not_settle() -> None:
    """A silently recorded job does not settle either, so its end is not announced afterwards."""
    silent = Watcher(replace(POLICY, first_run="open"))
    assert silent.compare(failed()) == []
    assert not silent.is_open()
    assert silent.wait(60) == []


def test_every_change_raises_the_revision() -> None:
    """(uid, revision, type) can be unique because no two changes share a revision."""
    watcher = Watcher()
    revisions = []
    for each in (job("Queued"), OPEN, DONE, job("InProgress"), DONE):
        watcher.compare(each)
        revisions += [change.state.revision for change in watcher.last]
    assert revisions == sorted(set(revisions))
    assert EventType.JOB_FAILED in {draft.type for change in watcher.last for draft in change.drafts}
