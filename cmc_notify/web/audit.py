"""The audit of what programs and people do over HTTP: every try is recorded once, refused ones too.

Refused tries of strangers are bounded: they cost at most ``MAX_REFUSED`` rows a minute, and the next row says
how many more came.
"""

import secrets
import time

import structlog
from aiohttp import web

from cmc_notify.core.access import Visitor
from cmc_notify.core.throttle import LineLimit
from cmc_notify.errors import StoreError
from cmc_notify.ports import ActionOutcome, AuditTrail, ChatAction, Clock
from cmc_notify.web.access import VISITOR
from cmc_notify.web.responses import Handler
from cmc_notify.web.visitors import Visitors

MAX_REFUSED = 10
"""Rows a minute for refused changes."""
MAX_REPLY = 2000
SUBJECT = web.RequestKey("subject", str)
"""What an action was about; its handler sets it as soon as it knows."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class WebAudit:
    """Writes to the table ``actions``."""

    def __init__(self, actions: AuditTrail, visitors: Visitors, clock: Clock = time.time) -> None:
        self._actions = actions
        self._visitors = visitors
        self._clock = clock
        self._refused = LineLimit(MAX_REFUSED)

    def audited(self, action: str, handler: Handler) -> Handler:
        """Return the handler, with a record of each call before it and of the outcome after it.

        Raises StoreUnavailable before anything is done if the call can't be recorded.
        """

        async def recorded(request: web.Request) -> web.StreamResponse:
            visitor = request[VISITOR]
            row = self._row(request, visitor, action, ActionOutcome.BEGUN)
            await self._actions.begin(row)
            try:
                response = await handler(request)
            except web.HTTPException as error:
                await self._finish(request, row, ActionOutcome.FAILED, error.text or error.reason)
                raise
            except Exception:
                await self._finish(request, row, ActionOutcome.FAILED, "it failed; see the log of the bridge")
                raise
            await self._finish(request, row, ActionOutcome.DONE, None)
            return response

        return recorded

    async def record_refused(self, request: web.Request, visitor: Visitor | None, reason: str) -> None:
        """Record a change that was refused."""
        admitted = self._refused.admit(time.monotonic())
        if admitted is None:
            return
        if admitted.left_out:
            reason = f"{reason} (and {admitted.left_out} more were not recorded)"
        row = self._row(request, visitor, "unknown", ActionOutcome.REFUSED, reason)
        try:
            await self._actions.begin(row)
        except StoreError as error:
            log.warning("web.audit_failed", error=str(error))

    def _row(
        self,
        request: web.Request,
        visitor: Visitor | None,
        action: str,
        outcome: ActionOutcome,
        answer: str | None = None,
    ) -> ChatAction:
        return ChatAction(
            id=secrets.token_hex(16),
            at=self._clock(),
            sink="",
            via=visitor.way.value if visitor else "http",
            action=action,
            outcome=outcome,
            who=visitor.name if visitor else None,
            detail=f"{request.method} {request.path}"[:MAX_REPLY],
            answer=answer and answer[:MAX_REPLY],
            address=self._visitors.address(request),
        )

    async def _finish(
        self, request: web.Request, row: ChatAction, outcome: ActionOutcome, answer: str | None
    ) -> None:
        log.info(
            "web.action_finished",
            action=row.action,
            outcome=outcome.value,
            who=row.who,
            address=row.address,
            subject=request.get(SUBJECT, row.subject),
        )
        try:
            await self._actions.finish(
                row.id, outcome, answer and answer[:MAX_REPLY], subject=request.get(SUBJECT)
            )
        except StoreError as error:
            log.warning("web.audit_failed", error=str(error))
