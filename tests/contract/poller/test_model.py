"""Whatever happens to a controller, its pollers and their store: nothing lost, nothing twice, on both stores.

A state machine plays a controller with all its accidents, pollers that die, are restarted and compete, and
operators; after each poll a model that knows none of the bridge's code judges what was written. More examples
than ``make test`` plays: MODEL_EXAMPLES=1000.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from cmc_notify.boundaries import Boundary
from cmc_notify.simulator import Quirks, Row, SimulatedJob
from cmc_notify.simulator.clock import START
from cmc_notify.simulator.wire import ABSENT
from cmc_notify.store import open_store
from support.model.controller import FIRST_TIMELESS_ID, Outage
from support.model.harness import Clock, ModelHarness
from support.model.stored import Sql, Sqlite
from support.postgres import PostgresServer

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "30"))
STEPS = 20

Run = Callable[[Coroutine[Any, Any, Any]], Any]

PLAIN = Quirks()
QUIRKS = (
    PLAIN,
    PLAIN,
    Quirks(inclusive=False, missing="null"),
    Quirks(filters_ignored=True),
    Quirks(after_field="completion"),
    Quirks(after_field="push", strict_filter_spelling=True),
)
POLL = (Boundary.POLL_FETCHED, Boundary.POLL_WRITTEN, Boundary.POLL_COMMITTED)

SERIALS = (("V1",), ("V1", "V2"), ("V2",), ("V1", "V2", "V3"), ("V1", None), ())
RESULTS = ("Fail", "Success", "Fail", None)
RESTS = (None, "Success", "Fail", "Fail")
STATUSES = ("Failed", "Success", "Failed", "Canceled")
LIES: tuple[dict[str, Any], ...] = (
    {"job_status": "Paused"},
    {},
    {"detailed_status": "none of your business"},
    {"creation_time": ABSENT, "push_time": ABSENT, "completion_time": ABSENT},
)
VERBS = (
    *("comes", "starts", "goes_on", "ends", "goes_on", "ends"),
    *("runs_again", "was_there", "lies", "is_purged", "returns"),
)

changes = st.lists(
    st.tuples(st.sampled_from(VERBS), st.integers(0, 3), st.integers(0, 23)), min_size=1, max_size=3
)
"""What happens to jobs before a poll: a verb, the job that it is about, and which of its kinds."""
picks = st.integers(0, 3)
gaps = st.sampled_from([15, 1, 61, 15, 700, 4000])
pollers = st.sampled_from([0, 1])
jumps = st.sampled_from([-90_000, -700, -61, 61, 700, 90_000])


class ControllerAndBridge(RuleBasedStateMachine):
    """One example: each rule is one thing that happens, and many are followed by a poll."""

    def __init__(self, begin: Callable[..., ModelHarness], run: Run) -> None:
        super().__init__()
        self._begin, self._run = begin, run

    @initialize(
        first_run=st.sampled_from(["all", "open", "none"]), quirks=st.sampled_from(QUIRKS), past=changes
    )
    def begin(self, first_run: str, quirks: Quirks, past: list[tuple[str, int, int]]) -> None:
        """A controller that reads its page in one way or another, busy with a push that has failed once."""
        trusted = quirks.after_field == "creation"
        self.harness = self._begin(first_run=first_run, quirks=quirks, trusted=trusted)
        self._run(self.harness.begin())
        self.controller = self.harness.controller
        self.purged: list[SimulatedJob] = []
        job = self.controller.add(timeless=False, rows=[_row("V1", "Fail"), _row("V2", None)])
        job.start()
        self._happen(past, 1)

    def _happen(self, changed: list[tuple[str, int, int]], gap: int) -> None:
        """Each change in a second of its own, the rest of the time after them."""
        for verb, pick, kind in changed:
            self.harness.passes(1)
            listed = self.controller.listed()
            if verb in ("comes", "was_there") or not (listed or self.purged):
                self._comes(kind, ended=verb == "was_there")
            else:
                getattr(self, f"_{verb}")(
                    listed[-1 - pick % len(listed)] if listed else self.purged[-1], kind
                )
        self.harness.passes(gap)

    # --- jobs -----------------------------------------------------------------------------------------------

    def _comes(self, kind: int, *, ended: bool = False) -> None:
        """A job is created, queued or running at once, one in six without any time; or it has ended, too."""
        rows = [Row(serial, 3) for serial in SERIALS[kind % 6]]
        job = self.controller.add(timeless=kind // 4 == 5, rows=rows)
        if ended or kind % 2:
            job.start()
        if ended:
            self._ends(job, kind)

    def _starts(self, job: SimulatedJob, _kind: int) -> None:
        if job.status == "Queued":
            job.start()

    def _goes_on(self, job: SimulatedJob, kind: int) -> None:
        """A row gets a result, or another one; also after the job's end."""
        row = job.rows[kind % len(job.rows)] if job.rows else Row("V1", 3)
        changed = _row(row.serial, RESULTS[kind % 4])
        job.set_row(row.serial, 3, changed.result, changed.error_text)

    def _ends(self, job: SimulatedJob, kind: int) -> None:
        """What had no result gets one, or is left without; or nothing was pushed at all."""
        if job.finished:
            return
        with job.change():
            if rest := RESTS[kind // 4 % 4]:
                job.set_rows(row if row.result else _row(row.serial, rest) for row in job.rows)
            job.finish(STATUSES[kind % 4], error_text="pre-push" if kind == 0 else None)

    def _runs_again(self, job: SimulatedJob, kind: int) -> None:
        """Queued or running again; or it has run and ended again before anybody looked."""
        if job.finished:
            job.rerun("Queued" if kind % 4 == 0 else "InProgress")
            if kind % 2:
                self.harness.passes(5)
                self._ends(job, kind)

    def _lies(self, job: SimulatedJob, kind: int) -> None:
        """A status outside the page, details that can't be read, times left out; or the truth again."""
        # Without times, whose id it is could only be guessed once two jobs have had it.
        if job.id < FIRST_TIMELESS_ID and not (kind % 4 == 3 and self.controller.reused(job.id)):
            with job.change():
                job.overrides.clear()
                job.overrides.update(LIES[kind % 4])

    def _is_purged(self, job: SimulatedJob, _kind: int) -> None:
        job.purge()
        self.purged.append(job)

    def _returns(self, _job: SimulatedJob, _kind: int) -> None:
        """A purged one is listed again, unless its id went to another meanwhile."""
        if self.purged and self.controller.jobs.get(self.purged[-1].id) is None:
            self.controller.show_again(self.purged.pop())

    # --- polls ----------------------------------------------------------------------------------------------

    @rule(changed=changes, gap=gaps)
    def polls(self, changed: list[tuple[str, int, int]], gap: int) -> None:
        """The usual: jobs move on, and a poll sees it."""
        self._happen(changed, gap)
        self._run(self.harness.poll())

    @rule(changed=changes, gap=gaps)
    def other_polls(self, changed: list[tuple[str, int, int]], gap: int) -> None:
        """Another poller, which remembers an older commit."""
        self._happen(changed, gap)
        self._run(self.harness.poll(1))

    @rule(changed=changes, gap=gaps, during=changes)
    def polls_while_jobs_change(
        self, changed: list[tuple[str, int, int]], gap: int, during: list[tuple[str, int, int]]
    ) -> None:
        """Jobs move on between two requests of one poll."""
        self._happen(changed, gap)
        self.controller.between = lambda: self._happen(during, 0)
        self._run(self.harness.poll())
        self.controller.between = None

    @rule(
        changed=changes,
        outages=st.lists(st.tuples(gaps, st.integers(0, 3), st.booleans()), min_size=1, max_size=3),
        dies=st.sampled_from([None, *POLL]),
    )
    def polls_fail(
        self,
        changed: list[tuple[str, int, int]],
        outages: list[tuple[int, int, bool]],
        dies: Boundary | None,
    ) -> None:
        """After a good poll the controller fails for a while, and in the end the process may, too."""
        self._happen(changed, 1)
        self._run(self.harness.poll())
        for number, (gap, after, refused) in enumerate(outages, 1):
            self.harness.passes(gap)
            last = number == len(outages)
            outage = Outage(after=after, refused=refused)
            self._run(self.harness.poll(outage=outage, dies=dies if last else None))

    @rule(changed=changes, gap=gaps, refused=st.booleans())
    def look_ups_fail(self, changed: list[tuple[str, int, int]], gap: int, *, refused: bool) -> None:
        """Lists work, single jobs can't be had."""
        self._happen(changed, gap)
        self._run(self.harness.poll(outage=Outage(look_ups=True, refused=refused)))

    @rule(changed=changes, gap=gaps, at=st.sampled_from(POLL), which=pollers)
    def poll_dies(self, changed: list[tuple[str, int, int]], gap: int, at: Boundary, which: int) -> None:
        """The process is killed; what comes after it reads the store."""
        self._happen(changed, gap)
        self._run(self.harness.poll(which, dies=at))
        self._run(self.harness.poll(which))

    @rule(changed=changes, gap=gaps, which=pollers)
    def restarts(self, changed: list[tuple[str, int, int]], gap: int, which: int) -> None:
        """A new process over the same store."""
        self._happen(changed, gap)
        self.harness.restart(which)
        self._run(self.harness.poll(which))

    # --- accidents and operators ----------------------------------------------------------------------------

    @rule(what=st.sampled_from(["back up", "restore", "restore", "begin anew", "nonsense"]))
    def controller_is_handled(self, what: str) -> None:
        """Jobs vanish, return and are what they were; ids begin anew; items that are no jobs."""
        match what:
            case "back up":
                self.controller.back_up()
            case "restore":
                self.controller.restore()
            case "begin anew":
                self.controller.reset_ids()
            case "nonsense":
                self.controller.jobs.add_raw(b"null")

    @rule(seconds=jumps, whose=st.sampled_from(["ours", "theirs", "both"]))
    def clock_jumps(self, seconds: int, whose: str) -> None:
        """Somebody sets a clock."""
        if whose != "theirs":
            self.harness.clock.now += seconds
        if whose != "ours":
            self.controller.clock.jump(seconds)

    @rule(pick=picks)
    def operator_closes(self, pick: int) -> None:
        """An appliance was decommissioned; and frozen pollers, who do not know, wake up."""
        self._run(self.harness.close_by_hand(pick))
        self._run(self.harness.commit_again())
        self._run(self.harness.commit_deposed())

    @rule(arrived=st.booleans())
    def retention_runs(self, *, arrived: bool) -> None:
        """What is old goes, whether or not its messages ever arrived."""
        if arrived:
            self._run(self.harness.deliver())
        self._run(self.harness.forget(age=3600))

    def teardown(self) -> None:
        """In the end a poll that reads everything anew tells the rest, and another one nothing."""
        if hasattr(self, "harness"):
            self.harness.passes(61)
            self.harness.restart(0)
            self._run(self.harness.poll())
            self.harness.restart(0)
            self._run(self.harness.poll_in_vain())


def _row(serial: str | None, result: str | None) -> Row:
    if result is None:
        return Row(serial, 3, "Running")
    return Row(serial, 3, "Completed", result, f"{serial}: broke" if result == "Fail" else None)


@pytest.fixture(params=["sqlite", "postgresql"])
def stages(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Callable[..., ModelHarness], Run]]:
    """Makes stages for one controller after another on one store, and runs what they do."""
    clock = Clock(START)
    numbers = count(1)
    logging_before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with asyncio.Runner() as runner:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path}/model.db"
        else:
            server: PostgresServer = request.getfixturevalue("postgresql_server")
            url = runner.run(server.new_database())
        store = runner.run(open_store(url, clock=clock, exclusive=True))
        sql: Sql = Sqlite(tmp_path / "model.db") if request.param == "sqlite" else runner.run(_connect(url))
        try:
            yield lambda **given: ModelHarness(store, sql, clock, f"c{next(numbers)}", **given), runner.run
        finally:
            runner.run(sql.close())
            runner.run(store.close())
            structlog.configure(**logging_before)


async def _connect(url: str) -> Any:
    import asyncpg  # noqa: PLC0415  a SQLite-only machine lacks it

    return await asyncpg.connect(url)


@pytest.mark.timeout(1800)  # what is found is made small before it is shown; a good run takes seconds
def test_nothing_is_lost_and_nothing_told_twice(stages: tuple[Callable[..., ModelHarness], Run]) -> None:
    """Whatever happens in whatever order: each poll writes what it owes to whom it owes it, and no more."""
    begin, run = stages
    run_state_machine_as_test(
        lambda: ControllerAndBridge(begin, run),  # type: ignore[arg-type]  # any maker of machines will do
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, suppress_health_check=list(HealthCheck)
        ),
    )
