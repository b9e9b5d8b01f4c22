"""Tells, through the other sinks, that deliveries to a sink keep failing, and that they work again.

Each turn is told once, by whichever process sees it first. What the store refuses to write is told by the
next attempt.
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
"""Seconds that a sink is believed to be told as working: another replica may have told that it fails."""

_TRIES = 3
"""Each refusal means that another replica told something; after so many the next attempt tries again."""


class SinkEventRules(Struct, frozen=True, kw_only=True):
    """Where news of sinks is written, and who gets it."""

    store: SinkEvents
    routes: Sequence[Route]
    sinks: Mapping[str, SinkProfile]


class SinkWatch:
    """Watches what attempts at one sink come to."""

    def __init__(
        self, sink: str, rules: SinkEventRules, *, clock: Clock, on_committed: Callable[[], None]
    ) -> None:
        """``on_committed`` is called when deliveries to other sinks were written."""
        self._sink = sink
        self._rules = rules
        self._clock = clock
        self._on_committed = on_committed
        self._streak = Streak()
        self._streak_announced = False
        self._last_condition: SinkCondition | None = None
        self._read_at = 0.0
        self._turn = asyncio.Lock()

    async def record_attempt(self, event: Event, outcome: SendOutcome) -> None:
        """Count one attempt to deliver ``event``. Never raises a StoreError.

        News about a sink is not counted: two sinks that fail must not tell of each other for ever.
        """
        if event.sink is not None:
            return
        async with self._turn:
            now = self._clock()
            self._streak = self._streak.after(outcome, now)
            try:
                await self._check(now)
            except StoreError as error:
                _log.error("sink.event_not_committed", sink=self._sink, error=str(error))

    async def _check(self, now: float) -> None:
        """Tell what is due. A streak is told once, also where another replica's sends go well meanwhile:
        else two replicas that see different things would contradict each other without end.
        """
        failing = self._streak.failing(now)
        if failing is None or (failing and self._streak_announced):
            return
        self._streak_announced = False
        told = self._last_condition
        if failing or told is None or (not told.failing and now - self._read_at >= CONDITION_TTL):
            told = await self._read(now)
        self._streak_announced = await self._commit_event(told, now, failing=failing) and failing

    async def _read(self, now: float) -> SinkCondition:
        self._last_condition = await self._rules.store.last_condition(self._sink)
        self._read_at = now
        return self._last_condition

    async def _commit_event(self, told: SinkCondition, now: float, *, failing: bool) -> bool:
        """Whether the standing is told at the end, by us or by another."""
        for _ in range(_TRIES):
            if told.failing == failing:
                return True
            news = build_sink_event(
                self._sink,
                self._streak,
                told,
                now=now,
                routes=self._rules.routes,
                sinks=self._rules.sinks,
            )
            if await self._rules.store.commit(news):
                self._last_condition, self._read_at = news.condition, now
                _log.info("sink.event_committed", sink=self._sink, type=news.event.type.value, since=news.event.since)
                self._on_committed()
                return True
            told = await self._read(now)
        return False
