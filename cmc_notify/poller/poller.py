"""One controller's poll: request_jobs, find what changed, commit it with all that is to be told.

The commit is one transaction. Before it the poll never happened and the next one finds the same changes;
after it the deliveries survive anything. Nothing else is kept: what this object remembers can be read
again from the store at any moment. A poll comes to an end: ``poll.watchdog`` ends what hangs.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

import structlog
from msgspec import Struct
from msgspec.structs import replace
from structlog.contextvars import bound_contextvars

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.core.diff import Change, PollPolicy
from cmc_notify.core.event_builder import EventBuilder
from cmc_notify.core.events import EventType
from cmc_notify.core.failures import FailureTracker
from cmc_notify.core.model import Job, JobState, Names, Pair, TrackedFailure
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.redaction import redact
from cmc_notify.core.routing import Route
from cmc_notify.core.silences import Silence
from cmc_notify.errors import (
    ControllerError,
    ControllerUnreachable,
    Deposed,
    StaleSnapshot,
    StoreError,
    Unauthorized,
)
from cmc_notify.poller.changes import ChangeFinder, successes
from cmc_notify.poller.commits import (
    commit_of_failure,
    commit_of_poll,
    meta_after,
    meta_after_failure,
    meta_after_outage,
)
from cmc_notify.poller.memory import KnownJobs, Memory, is_waiting
from cmc_notify.poller.names import NameCache
from cmc_notify.poller.observations import Observations
from cmc_notify.poller.requests import RequestResult, request_jobs
from cmc_notify.ports import Clock, ControllerMeta, Fence, JobSource, PollCommit, PollStore
from cmc_notify.settings.controller import ControllerSettings
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

FAILURE_COMMIT_TIMEOUT = 60.0
"""Seconds that the store gets to take the commit of a failed poll, which the watchdog no longer watches."""
STUCK_AFTER = 3
"""Polls in a row that other commits overtook twice each: that is no coincidence."""


class PollResult(Struct, frozen=True, kw_only=True):
    """What a poll came to. ``busy`` says that jobs are open, settling or watched: request_jobs again soon."""

    ok: bool
    busy: bool
    events: int = 0
    error: str | None = None
    hung: bool = False
    """Whether the watchdog ended it."""


class NotifyRules(Struct, frozen=True, kw_only=True):
    """How what is found is told: the config's routes and sinks, and what is removed from error texts."""

    routes: Sequence[Route]
    sinks: Mapping[str, SinkProfile]
    redact: Sequence[re.Pattern[str]] = ()


class Poller:
    """Polls one controller. Not to be run twice at the same time."""

    def __init__(
        self,
        name: str,
        source: JobSource,
        store: PollStore,
        settings: ControllerSettings,
        notify_rules: NotifyRules,
        *,
        clock: Clock,
        metrics: Metrics,
        on_committed: Callable[[], None] = lambda: None,
        on_polled: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_committed`` is called after a commit that holds deliveries, ``on_polled`` after each good poll's."""
        self.name = name
        self._source = source
        self._store = store
        self._settings = settings
        self._notify_rules = notify_rules
        self._clock = clock
        self._metrics = metrics
        self._on_committed = on_committed
        self._on_polled = on_polled
        self._names = NameCache(source)
        self._memory: Memory | None = None
        self._full_sync_at: float | None = None
        self._malformed: dict[bytes, str] = {}
        self._fence: Fence | None = None
        self._requesting = False
        self._overtaken = 0
        self._overtaken_by = ""
        self.meta = ControllerMeta()
        self.tried = False

    def forget(self) -> None:
        """Keep nothing in memory: the next poll reads the store, and begins with a full list."""
        self._memory = None
        self._full_sync_at = None
        self._malformed = {}
        for gauge in (self._metrics.controller_up, self._metrics.jobs_open):
            gauge.remove(self.name)  # whoever polls from now on knows

    async def poll(self, fence: Fence | None = None) -> PollResult:
        """One poll, whatever comes of it: errors of controller and store are told, counted and returned.

        ``fence`` is the lead under which the controller is on_polled, where several bridges share the store:
        once another leads, nothing is on_committed. Where another commit came in between, such as a failure
        closed by hand, the poll is made again at once, from what that commit left; where that happens
        again, the next poll goes on.
        """
        if fence != self._fence:
            self.forget()
        self._fence = fence
        with bound_contextvars(controller=self.name):
            result = await self._attempt() or await self._attempt()
            self._overtaken = 0 if result else self._overtaken + 1
            if self._overtaken >= STUCK_AFTER:
                _log.error("poll.stuck", polls=self._overtaken, reason=self._overtaken_by)
        self.tried = True
        return result or PollResult(ok=False, busy=True, error="superseded twice by other commits")

    async def _attempt(self) -> PollResult | None:
        """Ask and commit; None where another commit came in between, and nothing was written."""
        started = perf_counter()
        result = None
        try:
            outcome, result = await self._try()
        except StaleSnapshot as error:
            self._memory = None
            outcome, self._overtaken_by = "superseded", str(error)
            _log.info("poll.superseded", reason=str(error))
            if isinstance(error, Deposed):
                result = PollResult(ok=False, busy=True, error=str(error))
        except StoreError as error:
            self._memory = None
            outcome, result = "error", PollResult(ok=False, busy=True, error=str(error))
            _log.error("poll.store_failed", error=str(error))
        except TimeoutError:
            self._memory = None
            reason = "the store did not come to an end; the poll is made again"
            outcome, result = "hung", PollResult(ok=False, busy=True, error=reason, hung=True)
            _log.error("poll.hung", reason=reason)
        self._metrics.polls_total.labels(self.name, outcome).inc()
        self._metrics.poll_seconds.labels(self.name).observe(perf_counter() - started)
        if result and outcome != "superseded":
            self._metrics.controller_up.labels(self.name).set(float(result.ok))
        return result

    async def _try(self) -> tuple[str, PollResult]:
        """The outcome in a word, and the result; raises StoreError, or TimeoutError where the store hangs."""
        watchdog = self._settings.poll.watchdog
        failure: ControllerError
        self._requesting = False
        try:
            async with asyncio.timeout(watchdog):
                return "ok", await self._poll(self._memory or await self._remember())
        except ControllerError as error:
            outcome, failure = "unauthorized" if isinstance(error, Unauthorized) else "unreachable", error
        except TimeoutError:
            if not self._requesting:
                raise
            reason = (
                f"{self.name}: the poll hung: the controller had not answered all of it after {watchdog:g} s"
            )
            outcome, failure = "hung", ControllerUnreachable(reason)
            _log.error("poll.hung", reason=reason)
        if self._memory is None:
            # Forgotten meanwhile: the lead was lost, and a request that timed out at the same moment has
            # swallowed the cancellation that goes with it.
            raise Deposed(f"{self.name}: the lead was lost while the controller was requests")
        async with asyncio.timeout(FAILURE_COMMIT_TIMEOUT):
            result = await self._failed(self._memory, failure)
            return outcome, replace(result, hung=outcome == "hung")

    async def _remember(self) -> Memory:
        snapshot = await self._store.load_snapshot(self.name)
        known = KnownJobs(snapshot.known)
        now = self._clock()
        watched = [job.uid for job in snapshot.known if job.open or (job.watch_until or 0) > now]
        states = await self._store.load_states(self.name, watched)
        known.waiting.update(uid for uid, state in states.items() if is_waiting(state))
        self._memory = Memory(snapshot.version, known, states)
        self.meta = snapshot.meta
        return self._memory

    async def _poll(self, memory: Memory) -> PollResult:
        now = self._clock()
        poll = self._settings.poll
        full = self._full_sync_at is None or now - self._full_sync_at >= poll.full_sync
        observations = Observations(memory.known, lambda job: redact(job, self._notify_rules.redact), self._malformed)
        self._requesting = True
        requests = await request_jobs(
            self._source, memory.known, observations, memory.wanted(now), filters=self.meta.filters, full=full
        )
        reached(Boundary.POLL_FETCHED)
        now = self._clock()
        jobs = [job for steps in observations.changed.values() for job in steps]
        names = await self._names.learn(jobs, now=now)
        self._requesting = False
        changes = await self._changes(memory, observations, requests, now)
        builder = await self._event_builder(memory, changes, names, now)
        if since := self.meta.unreachable_since or self.meta.unauthorized_since:
            builder.add_controller_event(
                EventType.CONTROLLER_RECOVERED, since=since, silenced_by=self.meta.silenced_by
            )
        builder.add_changes(changes.values())
        meta = meta_after(self.meta, observations, requests, now)
        for status in set(meta.unknown_statuses) - set(self.meta.unknown_statuses):
            _log.warning("job.unknown_status", status=status)
            self._metrics.unknown_status_total.labels(self.name).inc()
        commit = commit_of_poll(self.name, memory, meta, builder, observations=observations, requests=requests)
        await self._write(memory, commit)
        memory.update_digests(observations.digests.keys() - builder.states.keys(), observations.digests)
        if requests.listed is not None:
            self._malformed = {digest: observations.malformed[digest] for digest in observations.unreadable}
        if requests.proven or (full and requests.filters != "unproven"):
            self._full_sync_at = now
        self._report(commit, jobs)
        return PollResult(ok=True, busy=bool(memory.wanted(now)), events=len(commit.events))

    async def _changes(
        self, memory: Memory, observations: Observations, requests: RequestResult, now: float
    ) -> dict[str, list[Change]]:
        absent = [uid for uid in observations.changed if not observations.new(uid) and uid not in memory.states]
        states = memory.states | await self._store.load_states(self.name, absent)
        return await self._change_finder(now).changes(observations.changed, states, memory.states, requests.gone)

    def _change_finder(self, now: float) -> ChangeFinder:
        return ChangeFinder(now=now, controller_now=self._controller_time(now), policy=self._policy())

    def _controller_time(self, now: float) -> float:
        """By the controller's clock; by ours where it has not said."""
        return now + (self._source.clock_offset or 0.0)

    def _policy(self) -> PollPolicy:
        return PollPolicy(
            settle=self._settings.poll.settle,
            overdue={operation.lower(): limit for operation, limit in self._settings.overdue.items()},
            first_run=None if self.meta.first_run_done else self._settings.first_run,
            progress=any(rule.updates_every is not None for rule in self._notify_rules.sinks.values()),
        )

    async def _event_builder(
        self,
        memory: Memory,
        changes: Mapping[str, Sequence[Change]],
        names: Names,
        now: float,
        *,
        outage: EventType | None = None,
    ) -> EventBuilder:
        """Load what decides which incidents open and close, and what people requests not to be told."""
        steps = [step for steps in changes.values() for step in steps]
        told = [step for step in steps if any(draft.pairs for draft in step.drafts)]
        incidents: list[TrackedFailure] = []
        silences: Sequence[Silence] = ()
        if steps:
            pairs = {pair for step in told for draft in step.drafts for pair in draft.pairs}
            incidents = list(await self._store.load_failures(self.name, pairs))
        if steps or outage:
            silences = await self._store.load_silences(self.name, now=now)
        later: dict[str, JobState] = {}
        if told:
            first = min(step.job.order for step in told)
            later = {state.uid: state for state in await self._store.states_after(self.name, first)}
        for uid in changes:
            later.pop(uid, None)
        if later.keys() - memory.known.by_uid.keys():  # what is told of them could not be written
            raise StaleSnapshot(f"{self.name}: the store knows jobs of a later poll; poll again")
        pushed_after = successes(later.values())

        def later_success(pair: Pair, order: tuple[int, int]) -> JobState | None:
            return next((state for state in pushed_after.get(pair, ()) if state.job.order > order), None)

        return EventBuilder(
            self.name,
            now=now,
            names=names,
            routes=self._notify_rules.routes,
            sinks=self._notify_rules.sinks,
            failures=FailureTracker(self.name, incidents, later_success),
            silences=silences,
            stored_job=later.get,
            controller_now=self._controller_time(now),
        )

    async def _write(self, memory: Memory, commit: PollCommit) -> None:
        commit = replace(commit, fence=self._fence)
        memory.version = await self._store.commit_poll(commit)
        memory.apply(commit)
        self.meta = commit.meta
        for event in commit.events:
            self._metrics.events_total.labels(self.name, event.type).inc()
        if commit.deliveries:
            self._on_committed()

    async def _failed(self, memory: Memory, error: ControllerError) -> PollResult:
        """Count a failed poll, and tell it once where it has lasted long enough.

        What was held for its details is still told in time, with what is there.
        """
        reached(Boundary.POLL_FETCHED)
        now = self._clock()
        meta = meta_after_failure(self.meta, error, now)
        since = meta.failing_since
        settled = self._change_finder(now).settled(memory.states)
        outage = self._outage_event(meta, error)
        builder = await self._event_builder(memory, settled, self._names.known(), now, outage=outage)
        builder.add_changes(settled.values())
        if outage:
            silenced_by = builder.add_controller_event(outage, reason=str(error), since=since)
            meta = meta_after_outage(meta, outage, silenced_by)
        _log.warning("poll.failed", error=str(error), failed_polls=meta.failed_polls)
        await self._write(memory, commit_of_failure(self.name, memory, meta, builder))
        return PollResult(ok=False, busy=bool(memory.wanted(now)), error=str(error))

    def _outage_event(self, meta: ControllerMeta, error: ControllerError) -> EventType | None:
        """What is told of a controller that fails, if it is not told yet."""
        if isinstance(error, Unauthorized):
            return None if meta.unauthorized_since else EventType.CONTROLLER_UNAUTHORIZED
        lasting = meta.failed_polls >= self._settings.poll.unreachable_after
        return EventType.CONTROLLER_UNREACHABLE if lasting and meta.unreachable_since is None else None

    def _report(self, commit: PollCommit, jobs: Sequence[Job]) -> None:
        memory = self._memory
        assert memory is not None
        self._metrics.last_poll_timestamp_seconds.labels(self.name).set(self._clock())
        self._metrics.jobs_open.labels(self.name).set(
            sum(1 for state in memory.states.values() if state.open)
        )
        self._metrics.malformed_jobs.labels(self.name).set(len(commit.meta.malformed))
        self._on_polled()
        _log.debug("poll.done", decoded=len(jobs), events=len(commit.events))
