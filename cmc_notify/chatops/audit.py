"""The audit: every action from chat is recorded and counted once, whatever its outcome.

Requests from unidentified senders are bounded: they cost at most ``MAX_ROWS_PER_MINUTE`` rows a minute for
each sink, and the next row says how many more came.
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

MAX_ROWS_PER_MINUTE = 10
_MINUTE = 60.0
MAX_REPLY_LENGTH = 2000
UNKNOWN = "unknown"


class Audit:
    """Writes to the table ``actions``, the log and the metric."""

    def __init__(self, actions: ChatActions, *, metrics: Metrics, clock: Clock) -> None:
        self._actions = actions
        self._metrics = metrics
        self._clock = clock
        self._recent: dict[str, list[float]] = {}
        self._unrecorded: dict[str, int] = {}

    async def begin(self, press: Press, sink: str, via: str) -> bool:
        """Record the press; return False if it was recorded before. Raises StoreUnavailable."""
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
        return await self._actions.begin(action)

    async def end(self, press: Press, sink: str, outcome: ActionOutcome, reply: str) -> None:
        """Record the outcome; if the store fails now, the action stays recorded as begun."""
        self._metrics.chat_actions_total.labels(sink, press.action, outcome.value).inc()
        _log.info(
            "chat.action_finished",
            sink=sink,
            action=press.action,
            outcome=outcome.value,
            who=press.person.id,
            subject=press.subject,
            reply=reply[:MAX_REPLY_LENGTH],
        )
        try:
            await self._actions.finish(press.id, outcome, reply[:MAX_REPLY_LENGTH])
        except StoreError as error:
            _log.error("chat.audit_failed", error=str(error))

    async def record_unidentified(self, sink: str, via: str, outcome: ActionOutcome, reason: str) -> None:
        """Record a request that is forged, old or unreadable. Each one is counted, few are recorded."""
        self._metrics.chat_actions_total.labels(sink, UNKNOWN, outcome.value).inc()
        if not self._has_room(sink):
            self._unrecorded[sink] = self._unrecorded.get(sink, 0) + 1
            return
        if more := self._unrecorded.pop(sink, 0):
            reason = f"{reason} (and {more} more were not recorded)"
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
            await self._actions.begin(replace(row, answer=reason[:MAX_REPLY_LENGTH]))
        except StoreError as error:
            _log.error("chat.audit_failed", error=str(error))

    def _has_room(self, sink: str) -> bool:
        now = time.monotonic()
        recent = [at for at in self._recent.get(sink, []) if now - at < _MINUTE]
        room = len(recent) < MAX_ROWS_PER_MINUTE
        self._recent[sink] = [*recent, now] if room else recent
        return room
