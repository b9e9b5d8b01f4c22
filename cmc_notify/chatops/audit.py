"""Every attempt is written down and counted: once each, whatever came of it.

What can't be told from a flood is bounded: requests that nobody signed cost at most ``MOST`` rows a minute
for each sink, and the next row says how many came besides.
"""

import secrets
import time

import structlog
from msgspec.structs import replace

from cmc_notify.chatops.payloads import Press
from cmc_notify.errors import StoreError
from cmc_notify.ports import ActionOutcome, ChatAction, ChatActions, Clock
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

MOST = 10
_MINUTE = 60.0
LONGEST_ANSWER = 2000
UNKNOWN = "unknown"


class Audit:
    """The table ``actions``, the log and the metric."""

    def __init__(self, acting: ChatActions, *, metrics: Metrics, clock: Clock) -> None:
        self._acting = acting
        self._metrics = metrics
        self._clock = clock
        self._recent: dict[str, list[float]] = {}
        self._unwritten: dict[str, int] = {}

    async def begin(self, press: Press, sink: str, via: str) -> bool:
        """Write the press down; False where it was before. Raises StoreUnavailable."""
        action = ChatAction(
            id=press.id,
            at=self._clock(),
            sink=sink,
            via=via,
            action=press.action,
            outcome=ActionOutcome.BEGUN,
            who=press.person.id,
            name=press.person.name,
            subject=press.subject,
            detail=press.option,
        )
        return await self._acting.begin(action)

    async def end(self, press: Press, sink: str, outcome: ActionOutcome, answer: str) -> None:
        """Write down what came of it; a store that fails now leaves it begun."""
        self._metrics.chat_actions_total.labels(sink, press.action, outcome.value).inc()
        _log.info(
            "chat.action",
            sink=sink,
            action=press.action,
            outcome=outcome.value,
            who=press.person.id,
            subject=press.subject,
            answer=answer[:LONGEST_ANSWER],
        )
        try:
            await self._acting.finish(press.id, outcome, answer[:LONGEST_ANSWER])
        except StoreError as error:
            _log.error("chat.audit_failed", error=str(error))

    async def stranger(self, sink: str, via: str, outcome: ActionOutcome, reason: str) -> None:
        """What can't be laid to anybody: forged, old or unreadable. Each is counted; of many, few are
        written down.
        """
        self._metrics.chat_actions_total.labels(sink, UNKNOWN, outcome.value).inc()
        if not self._room(sink):
            self._unwritten[sink] = self._unwritten.get(sink, 0) + 1
            return
        if more := self._unwritten.pop(sink, 0):
            reason = f"{reason} (and {more} more were not written down)"
        _log.warning("chat.refused", sink=sink, via=via, outcome=outcome.value, reason=reason)
        row = ChatAction(
            id=secrets.token_hex(16),
            at=self._clock(),
            sink=sink,
            via=via,
            action=UNKNOWN,
            outcome=outcome,
            answer=reason,
        )
        try:
            await self._acting.begin(replace(row, answer=reason[:LONGEST_ANSWER]))
        except StoreError as error:
            _log.error("chat.audit_failed", error=str(error))

    def _room(self, sink: str) -> bool:
        now = time.monotonic()
        recent = [at for at in self._recent.get(sink, []) if now - at < _MINUTE]
        room = len(recent) < MOST
        self._recent[sink] = [*recent, now] if room else recent
        return room
