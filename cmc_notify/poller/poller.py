"""One controller's poll: request its jobs, find what changed, commit that with all events about it.

The commit is one transaction. Before it the poll never happened and the next one finds the same changes;
after it the deliveries survive anything. Nothing else is kept: all that this object remembers can be read
again from the store at any moment. Every poll ends: ``poll.watchdog`` ends one that hangs.
"""

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter

import structlog
from msgspec import Struct
from msgspec.structs import replace
from structlog.contextvars import bound_contextvars

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.core.diff import Change, PollPolicy
from cmc_notify.core.events import EventType
from cmc_notify.core.model import Job
from cmc_notify.core.redaction import redact
from cmc_notify.errors import (
    ControllerError,
    ControllerUnreachable,
    LeadershipLost,
    StaleSnapshot,
    StoreError,
    Unauthorized,
)
from cmc_notify.poller.builder_loader import BuilderLoader
from cmc_notify.poller.changes import ChangeFinder
from cmc_notify.poller.commits import (
    commit_of_failure,
    commit_of_poll,
    meta_after,
    meta_after_failure,
    meta_after_outage,
)
from cmc_notify.poller.memory import KnownJobs, Memory, is_waiting
from cmc_notify.poller.names import NameCache
from cmc_notify.poller.notify_rules import NotifyRules
from cmc_notify.poller.observations import Observations
from cmc_notify.poller.requests import RequestResult, request_jobs
from cmc_notify.ports import Clock, ControllerMeta, Fence, JobSource, PollCommit, PollStore
from cmc_notify.settings.controller import ControllerSettings
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

FAILURE_COMMIT_TIMEOUT = 60.0
"""Seconds that the commit of a failed poll may take; the watchdog no longer applies to it."""
STUCK_AFTER = 3
"""Polls in a row that other commits superseded twice each; so many are not a coincidence."""


class PollResult(Struct, frozen=True, kw_only=True):
    """The result of a poll. ``busy``: jobs are open, settling or watched, so poll again soon."""

    ok: bool
    busy: bool
    events: int = 0
    error: str | None = None
    hung: bool = False
    """True if the watchdog ended it."""


class Poller:
    """Polls one controller. Only one poll may run at a time."""

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
        """``on_committed`` is called after a commit with deliveries, ``on_polled`` after a good poll."""
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
        self._loader = BuilderLoader(name, store, notify_rules)
        self._memory: Memory | None = None
        self._full_sync_at: float | None = None
        self._malformed: dict[bytes, str] = {}
        self._fence: Fence | None = None
        self._requesting = False
        self._superseded = 0
        self._superseded_by = ""
        self.meta = ControllerMeta()
        self.tried = False

    def forget(self) -> None:
        """Clear the memory: the next poll reads the store, and begins with a full list."""
        self._memory = None
        self._full_sync_at = None
        self._malformed = {}
        for gauge in (self._metrics.controller_up, self._metrics.jobs_open):
            gauge.remove(self.name)  # the replica that polls from now on shows it

    async def poll(self, fence: Fence | None = None) -> PollResult:
        """Poll once. Errors of controller and store are logged, counted and returned, never raised.

        ``fence`` proves that this replica leads, where several share the store: once another leads, nothing
        is committed. If another commit came in between, such as a failure closed by hand, the poll is
        repeated at once on the new state. If that happens again, the next poll continues.
        """
        if fence != self._fence:
            self.forget()
        self._fence = fence
        with bound_contextvars(controller=self.name):
            result = await self._attempt() or await self._attempt()
            self._superseded = 0 if result else self._superseded + 1
            if self._superseded >= STUCK_AFTER:
                _log.error("poll.stuck", polls=self._superseded, reason=self._superseded_by)
        self.tried = True
        return result or PollResult(ok=False, busy=True, error="superseded twice by other commits")

    async def _attempt(self) -> PollResult | None:
        """Request and commit; None if another commit came in between, and nothing was written."""
        started = perf_counter()
        result = None
        try:
            outcome, result = await self._try()
        except StaleSnapshot as error:
            self._memory = None
            outcome, self._superseded_by = "superseded", str(error)
            _log.info("poll.superseded", reason=str(error))
            if isinstance(error, LeadershipLost):
                result = PollResult(ok=False, busy=True, error=str(error))
        except StoreError as error:
            self._memory = None
            outcome, result = "error", PollResult(ok=False, busy=True, error=str(error))
            _log.error("poll.store_failed", error=str(error))
        except TimeoutError:
            self._memory = None
            reason = "the store did not finish in time; the poll is repeated"
            outcome, result = "hung", PollResult(ok=False, busy=True, error=reason, hung=True)
            _log.error("poll.hung", reason=reason)
        self._metrics.polls_total.labels(self.name, outcome).inc()
        self._metrics.poll_seconds.labels(self.name).observe(perf_counter() - started)
        if result and outcome != "superseded":
            self._metrics.controller_up.labels(self.name).set(float(result.ok))
        return result

    async def _try(self) -> tuple[str, PollResult]:
        """Return the outcome in a word, and the result.

        Raises StoreError, or TimeoutError if the store hangs.
        """
        watchdog = self._settings.poll.watchdog
        failure: ControllerError
        self._requesting = False
        try:
            async with asyncio.timeout(watchdog):
                return "ok", await self._poll(self._memory or await self._load_memory())
        except ControllerError as error:
            outcome, failure = "unauthorized" if isinstance(error, Unauthorized) else "unreachable", error
        except TimeoutError:
            if not self._requesting:
                raise
            reason = (
                f"{self.name}: the poll hung: the controller had not sent all responses after {watchdog:g} s"
            )
            outcome, failure = "hung", ControllerUnreachable(reason)
            _log.error("poll.hung", reason=reason)
        if self._memory is None:
            # The lead was lost meanwhile, and forget() was called. The cancellation that comes with it was
            # lost in a request that timed out at the same moment.
            raise LeadershipLost(f"{self.name}: the lead was lost during the requests to the controller")
        async with asyncio.timeout(FAILURE_COMMIT_TIMEOUT):
            result = await self._failed(self._memory, failure)
            return outcome, replace(result, hung=outcome == "hung")

    async def _load_memory(self) -> Memory:
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
        observations = Observations(
            memory.known, lambda job: redact(job, self._notify_rules.redact), self._malformed
        )
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
        builder = await self._loader.load(
            changes,
            names,
            known=memory.known.by_uid.keys(),
            now=now,
            controller_now=self._controller_time(now),
        )
        if since := self.meta.unreachable_since or self.meta.unauthorized_since:
            builder.add_controller_event(
                EventType.CONTROLLER_RECOVERED, since=since, silenced_by=self.meta.silenced_by
            )
        builder.add_changes(changes.values())
        meta = meta_after(self.meta, observations, requests, now)
        for status in set(meta.unknown_statuses) - set(self.meta.unknown_statuses):
            _log.warning("job.unknown_status", status=status)
            self._metrics.unknown_status_total.labels(self.name).inc()
        commit = commit_of_poll(
            self.name, memory, meta, builder, observations=observations, requests=requests
        )
        await self._write(memory, commit)
        memory.update_digests(observations.digests.keys() - builder.states.keys(), observations.digests)
        if requests.listed is not None:
            self._malformed = {digest: observations.malformed[digest] for digest in observations.unreadable}
        if requests.proven or (full and requests.filters != "unproven"):
            self._full_sync_at = now
        self._log_success(commit, jobs)
        return PollResult(ok=True, busy=bool(memory.wanted(now)), events=len(commit.events))

    async def _changes(
        self, memory: Memory, observations: Observations, requests: RequestResult, now: float
    ) -> dict[str, list[Change]]:
        absent = [
            uid for uid in observations.changed if not observations.new(uid) and uid not in memory.states
        ]
        states = memory.states | await self._store.load_states(self.name, absent)
        return await self._change_finder(now).changes(
            observations.changed, states, memory.states, requests.gone
        )

    def _change_finder(self, now: float) -> ChangeFinder:
        return ChangeFinder(now=now, controller_now=self._controller_time(now), policy=self._policy())

    def _controller_time(self, now: float) -> float:
        """Return the time by the controller's clock, or by our own if it has not sent one."""
        return now + (self._source.clock_offset or 0.0)

    def _policy(self) -> PollPolicy:
        return PollPolicy(
            settle=self._settings.poll.settle,
            overdue={operation.lower(): limit for operation, limit in self._settings.overdue.items()},
            first_run=None if self.meta.first_run_done else self._settings.first_run,
            progress=any(rule.updates_every is not None for rule in self._notify_rules.sinks.values()),
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
        """Count a failed poll, and announce the outage once it has lasted long enough.

        Jobs that wait for their details are still announced in time, with the details there are.
        """
        reached(Boundary.POLL_FETCHED)
        now = self._clock()
        meta = meta_after_failure(self.meta, error, now)
        since = meta.failing_since
        settled = self._change_finder(now).settled(memory.states)
        outage = self._outage_event(meta, error)
        builder = await self._loader.load(
            settled,
            self._names.known(),
            known=memory.known.by_uid.keys(),
            now=now,
            controller_now=self._controller_time(now),
            outage=outage,
        )
        builder.add_changes(settled.values())
        if outage:
            silenced_by = builder.add_controller_event(outage, reason=str(error), since=since)
            meta = meta_after_outage(meta, outage, silenced_by)
        _log.warning("poll.failed", error=str(error), failed_polls=meta.failed_polls)
        await self._write(memory, commit_of_failure(self.name, memory, meta, builder))
        return PollResult(ok=False, busy=bool(memory.wanted(now)), error=str(error))

    def _outage_event(self, meta: ControllerMeta, error: ControllerError) -> EventType | None:
        """Return the type of the outage event that is due and not announced yet, else None."""
        if isinstance(error, Unauthorized):
            return None if meta.unauthorized_since else EventType.CONTROLLER_UNAUTHORIZED
        lasting = meta.failed_polls >= self._settings.poll.unreachable_after
        return EventType.CONTROLLER_UNREACHABLE if lasting and meta.unreachable_since is None else None

    def _log_success(self, commit: PollCommit, jobs: Sequence[Job]) -> None:
        memory = self._memory
        assert memory is not None
        self._metrics.last_poll_timestamp_seconds.labels(self.name).set(self._clock())
        self._metrics.jobs_open.labels(self.name).set(
            sum(1 for state in memory.states.values() if state.open)
        )
        self._metrics.malformed_jobs.labels(self.name).set(len(commit.meta.malformed))
        self._on_polled()
        _log.debug("poll.done", decoded=len(jobs), events=len(commit.events))
