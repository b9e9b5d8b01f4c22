"""Two pollers on one store, one controller in memory, and the model that judges each poll.

Pollers die at a boundary, are restarted, and take turns, so that the one whose turn it is may remember an
older commit than the newest.
"""

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from cmc_notify import boundaries
from cmc_notify.boundaries import Boundary
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Match, Route
from cmc_notify.errors import StaleSnapshot
from cmc_notify.poller import NotifyRules, Poller
from cmc_notify.ports import PollCommit, Snapshot
from cmc_notify.settings.controller import ControllerSettings
from cmc_notify.simulator import Quirks
from cmc_notify.store import Store
from cmc_notify.telemetry import Metrics
from support.model.controller import ModelController, Outage
from support.model.notifications import UNREACHABLE_AFTER, ExpectedNotifications
from support.model.open_failures import CHAT, MUTE, PARTIAL, PARTIAL_SERIAL
from support.model.stored import Sql, Written

NOTIFY_RULES = NotifyRules(
    routes=(
        Route(match=Match(serial=(PARTIAL_SERIAL,)), sinks=(PARTIAL,), proceed=True),
        Route(sinks=(CHAT, MUTE)),
    ),
    sinks={
        CHAT: SinkProfile(updates_every=0.0),
        PARTIAL: SinkProfile(),
        MUTE: SinkProfile(send_resolved=False),
    },
)
SETTINGS: dict[str, Any] = {
    "url": "http://controller.test",
    "poll": {"unreachable_after": UNREACHABLE_AFTER},
    "overdue": {"push": 1000},
}


class Died(BaseException):
    """The process has ended: nothing catches this."""


@dataclass
class Clock:
    """Our time, by hand."""

    now: float

    def __call__(self) -> float:
        """What it shows."""
        return self.now


class PollRecorder:
    """A store's poll side as it is; it keeps each commit, and tells the controller of a new attempt."""

    def __init__(self, store: Store, controller: ModelController) -> None:
        self._store = store.poll
        self._controller = controller
        self.commits: list[PollCommit] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def load_snapshot(self, controller: str) -> Snapshot:
        """Who reads the store asks anew: what was answered before counts for nothing."""
        self._controller.poll_begins()
        return await self._store.load_snapshot(controller)

    async def commit_poll(self, commit: PollCommit) -> int:
        """Remembered if it is in, also where nobody lives to know."""
        try:
            return await self._store.commit_poll(commit)
        finally:
            if (await self._store.load_snapshot(commit.controller)).version == commit.expected_version + 1:
                self.commits.append(commit)


@dataclass
class ModelHarness:
    """One controller's example on a store that others have used before. ``clock`` is the store's, too."""

    store: Store
    sql: Sql
    clock: Clock
    name: str
    first_run: str
    quirks: Quirks
    trusted: bool
    """Whether the filters work as documented, so that each poll must find every open job."""

    async def begin(self) -> None:
        """Nothing is known, nothing has happened."""
        self.controller = ModelController(self.quirks)
        self.clock.now = self.controller.clock.now
        self.controller.our_time = self.clock
        self.expected = ExpectedNotifications(self.first_run)
        self.written = Written(self.sql, self.name)
        await self.written.begin()
        self.records = PollRecorder(self.store, self.controller)
        self.pollers = [self._poller(), self._poller()]

    def _poller(self) -> Poller:
        settings = ControllerSettings(first_run=self.first_run, **SETTINGS)
        return Poller(
            self.name,
            self.controller,
            self.records,
            settings,
            NOTIFY_RULES,
            clock=self.clock,
            metrics=METRICS,
        )

    def restart(self, which: int) -> None:
        """Go on with a poller that knows nothing but the store."""
        self.pollers[which] = self._poller()

    def passes(self, seconds: float) -> None:
        """Time passes for all."""
        self.clock.now += seconds
        self.controller.clock.advance(seconds)

    async def poll(
        self, which: int = 0, *, outage: Outage | None = None, dies: Boundary | None = None
    ) -> None:
        """One poll, and all that must be true after it."""
        self.controller.outage = outage or Outage()
        self.controller.poll_begins()
        before = await self.written.counts() if dies else ()
        boundaries.install(_killer(dies) if dies else None)
        result = None
        try:
            result = await self.pollers[which].poll()
        except Died:
            self.restart(which)
        finally:
            boundaries.install(None)
        died = result is None
        if died and dies is not Boundary.POLL_COMMITTED:
            assert await self.written.counts() == before, "a poll that died before its commit has written"
            return
        failed = self._failed()
        assert died or (result is not None and result.ok is not failed), result
        told = await self.written.news()
        incidents = await self.written.incidents()
        if failed:
            self.expected.failed(
                told, now=self.clock.now, refused=self.controller.outage.refused, incidents=incidents
            )
        else:
            self.expected.polled(
                self.controller.answers,
                told,
                now=self.clock.now,
                states=await self.written.states(),
                incidents=incidents,
                look_ups=not self.controller.outage.look_ups,
            )
            self._saw_what_is_open()

    async def poll_in_vain(self) -> None:
        """Nothing has changed since the last poll, and nothing is due: whoever polls now tells nothing."""
        before = await self.written.counts()
        await self.poll()
        version, *rest = await self.written.counts()
        assert (version, rest) == (before[0] + 1, list(before[1:])), "an unchanged controller was told again"

    def _failed(self) -> bool:
        """Whether the poll failed: what fails after a full list only leaves the filters unproven."""
        lists = [answer for answer in self.controller.answers if answer.job_id is None]
        return self.controller.list_failed and not (lists and lists[0].full)

    def _saw_what_is_open(self) -> None:
        shown = {body for answer in self.controller.answers for body in answer.bodies}
        full = any(answer.full for answer in self.controller.answers)
        if not (full or self.trusted) or self.controller.between_happened:
            return
        for job in self.controller.listed():
            if job.status in ("Queued", "InProgress") and not job.overrides:
                assert job.body in shown, f"job {job.id} is {job.status}, and no answer showed it"

    async def commit_again(self) -> None:
        """A poller that was frozen since wakes up and commits: nothing is written."""
        if len(self.records.commits) > 1:
            await self._refused(self.records.commits[-2])
            await self._refused(self.records.commits[-1])

    async def commit_deposed(self) -> None:
        """A poller that has lost the lead commits upon the newest version: nothing is written."""
        if not self.records.commits:
            return
        leadership = self.store.leadership
        fence = await leadership.acquire(self.name, owner="one", ttl=60)
        assert fence
        await leadership.release(fence)
        other = await leadership.acquire(self.name, owner="another", ttl=60)
        assert other
        version = (await self.store.poll.load_snapshot(self.name)).version
        fresh = replace(
            self.records.commits[-1], expected_version=version, fence=fence, events=(), deliveries=()
        )
        await self._refused(fresh)
        await leadership.release(other)

    async def _refused(self, commit: PollCommit) -> None:
        before = await self.written.counts()
        try:
            await self.store.poll.commit_poll(commit)
        except StaleSnapshot:
            assert await self.written.counts() == before, "a refused commit has written"
            return
        raise AssertionError("a commit that came too late was taken")

    async def close_by_hand(self, pick: int) -> None:
        """An operator closes one open failure."""
        standing = [i for i, one in (await self.written.incidents()).items() if one["closed_at"] is None]
        if standing:
            assert await self.store.ledger.close_failure(standing[pick % len(standing)], now=self.clock.now)
            self.expected.standing.closed_by_hand(await self.written.incidents())

    async def forget(self, *, age: float) -> None:
        """Retention runs. A poller that still watches what is forgotten would go on with it; here it ends."""
        await self.store.housekeeping.forget(before=self.clock.now - age)
        lists = [commit.listed for commit in self.records.commits if commit.listed is not None]
        forgotten = self.expected.forgot(
            await self.written.states(), await self.written.incidents(), set(lists[-1]) if lists else set()
        )
        for which, poller in enumerate(self.pollers):
            if poller._memory and poller._memory.states.keys() & forgotten:
                self.restart(which)

    async def deliver(self) -> None:
        """Every message arrives."""
        await self.written.deliver(self.clock.now)


METRICS = Metrics()


def _killer(at: Boundary) -> Any:
    def hook(reached: Boundary) -> None:
        if reached is at:
            raise Died

    return hook
