"""Notify people, through the other sinks, that deliveries to a sink keep failing, or work again.

Each change is announced once, by the process that sees it first. If the store fails to write the event, the
next attempt tries again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog
from msgspec import Struct

from cmc_notify.core.events import Event
from cmc_notify.core.outcome import SendOutcome
from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.routing import Route
from cmc_notify.core.sink_health import SinkCondition, Streak, build_sink_event
from cmc_notify.errors import StoreError
from cmc_notify.ports import Clock, SinkEvents

_log = structlog.get_logger(__name__)

CONDITION_TTL = 30.0
"""Seconds that a read "works" is trusted: another replica may have announced that the sink fails."""

_TRIES = 3
"""Each refusal means that another replica announced a change; after so many, the next attempt tries again."""


class SinkEventRules(Struct, frozen=True, kw_only=True):
    """The store of events about sinks, and the rules for who gets them."""

    store: SinkEvents
    routes: Sequence[Route]
    sinks: Mapping[str, SinkProfile]


class SinkWatch:
    """Watches the outcomes of attempts at one sink."""

    def __init__(
        self, sink: str, rules: SinkEventRules, *, clock: Clock, on_committed: Callable[[], None]
    ) -> None:
        """``on_committed`` is called after deliveries to other sinks were written."""
        self._sink = sink
        self._rules = rules
        self._clock = clock
        self._on_committed = on_committed
        self._streak = Streak()
        self._streak_announced = False
        self._last_condition: SinkCondition | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    async def record_attempt(self, event: Event, outcome: SendOutcome) -> None:
        """Count one attempt to deliver ``event``. Never raises a StoreError.

        Events about sinks are not counted: two failing sinks must not notify of each other for ever.
        """
        if event.sink is not None:
            return
        async with self._lock:
            now = self._clock()
            self._streak = self._streak.after(outcome, now)
            try:
                await self._check(now)
            except StoreError as error:
                _log.error("sink.event_not_committed", sink=self._sink, error=str(error))

    async def _check(self, now: float) -> None:
        """Announce a change that is due.

        A streak is announced once, even if another replica's sends succeed meanwhile: otherwise two replicas
        that see different things would contradict each other for ever.
        """
        failing = self._streak.failing(now)
        if failing is None or (failing and self._streak_announced):
            return
        self._streak_announced = False
        announced = self._last_condition
        if failing or announced is None or (not announced.failing and now - self._read_at >= CONDITION_TTL):
            announced = await self._read(now)
        self._streak_announced = await self._commit_event(announced, now, failing=failing) and failing

    async def _read(self, now: float) -> SinkCondition:
        self._last_condition = await self._rules.store.last_condition(self._sink)
        self._read_at = now
        return self._last_condition

    async def _commit_event(self, announced: SinkCondition, now: float, *, failing: bool) -> bool:
        """Return True if the condition is announced in the end, by this replica or another."""
        for _ in range(_TRIES):
            if announced.failing == failing:
                return True
            sink_event = build_sink_event(
                self._sink,
                self._streak,
                announced,
                now=now,
                routes=self._rules.routes,
                sinks=self._rules.sinks,
            )
            if await self._rules.store.commit(sink_event):
                self._last_condition, self._read_at = sink_event.condition, now
                event = sink_event.event
                _log.info("sink.event_committed", sink=self._sink, type=event.type.value, since=event.since)
                self._on_committed()
                return True
            announced = await self._read(now)
        return False
