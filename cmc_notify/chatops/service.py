"""What people do from Slack, from the press to its last answer.

Guarantee: a press is acknowledged at once and acted upon apart from it; the same press acts once, however
often and to whichever replica it is sent; it counts only where its message is the one that stands for its
subject in the store, and only for who may. Nothing here ever stops a poll or a delivery.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import structlog

from cmc_notify.chatops import commands
from cmc_notify.chatops.apps import App, apps
from cmc_notify.chatops.audit import Audit
from cmc_notify.chatops.button_actions import ButtonActions, JobCanceler, Result
from cmc_notify.chatops.payloads import Command, Press, Unreadable, read_command, read_press
from cmc_notify.chatops.permissions import serves
from cmc_notify.chatops.replies import tell_person, tell_thread
from cmc_notify.chatops.socket_mode import Socket
from cmc_notify.errors import StoreError
from cmc_notify.ports import ActionOutcome, ChatActions, Clock, Ledger, Refresh, Silences
from cmc_notify.settings.base import SinkSettings
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

MOST_AT_ONCE = 64
"""Presses that are being acted upon; who presses beyond that is told to try again."""
COMMAND_WITHIN = 2.0
"""Seconds; Slack wants the answer within three."""
LOOK_AGAIN, MOST_LOOKS = 0.5, 60
"""Seconds, and how often: until a message that is being sent just now is there."""
LET_GO = 1.0
_GONE = "This message is no longer current, so nothing was done. Look for the newest one about this job."
_BUSY = "The bridge is busy just now, and nothing was done. Please try again in a moment."
_STORE = "The bridge can't read its store just now, and nothing is known to be done. Please try again later."


class ChatOps:
    """Every way in of every Slack sink of one config. Used once: stopped, it stays so."""

    def __init__(
        self,
        sinks: Mapping[str, SinkSettings],
        controllers: Mapping[str, JobCanceler],
        present: commands.Present,
        *,
        acting: ChatActions,
        ledger: Ledger,
        silences: Silences,
        wake: Callable[[], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """``wake`` is called when a message is due again."""
        self.apps = apps(sinks, clock=clock)
        self._of_sink = {name: app for app in self.apps for name in app.sinks}
        self._present = present
        self._acting = acting
        self._ledger = ledger
        self._wake = wake
        self._clock = clock
        self._metrics = metrics
        self._acts = ButtonActions(acting, silences, controllers, clock=clock)
        self.audit = Audit(acting, metrics=metrics, clock=clock)
        self.stopping = False
        self._sockets: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Connect every app that has a token for it."""
        for app in self.apps:
            if app.by_socket:
                socket = Socket(
                    app.name, app.settings, partial(self._take_envelope, app), metrics=self._metrics
                )
                self._sockets.append(asyncio.create_task(socket.run(), name=f"chat:socket:{app.name}"))

    async def stop(self, grace: float) -> None:
        """Take nothing more, and finish what was begun within ``grace`` seconds."""
        self.stopping = True
        for task in self._sockets:
            task.cancel()
        if self._sockets:
            await asyncio.wait(self._sockets, timeout=LET_GO)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in tuple(self._tasks):
            _log.warning("chat.cut_short", task=task.get_name())
            task.cancel()
        await self.close()

    async def close(self) -> None:
        """Release connections; enough for one that was never started."""
        await asyncio.gather(*(app.close() for app in self.apps), return_exceptions=True)

    def app_of(self, sink: str) -> App | None:
        """The app whose messages this sink sends; None for a sink without a way in."""
        return self._of_sink.get(sink)

    async def take_press(self, app: App, via: str, payload: object) -> None:
        """Begin to act upon what was pressed; returns at once, before anything has come of it."""
        try:
            press = read_press(payload)
        except Unreadable as error:
            self._later(self.audit.stranger(app.name, via, ActionOutcome.UNREADABLE, str(error)))
            return
        if press is None:
            return
        if len(self._tasks) >= MOST_AT_ONCE:
            _log.warning("chat.busy", sink=app.name, action=press.action)
            if len(self._tasks) < 2 * MOST_AT_ONCE:
                self._later(tell_person(app.client, press, _BUSY))
            return
        self._later(self._handle(app, via, press))

    async def take_command(self, app: App, via: str, payload: object) -> Mapping[str, Any] | None:
        """What the command answers, in time; None where it makes no sense."""
        try:
            command = read_command(payload)
        except Unreadable as error:
            self._later(self.audit.stranger(app.name, via, ActionOutcome.UNREADABLE, str(error)))
            return None
        try:
            async with asyncio.timeout(COMMAND_WITHIN):
                answer = await self._answer(app, command)
            outcome = ActionOutcome.DONE
        except (StoreError, TimeoutError) as error:
            _log.warning("chat.command_failed", sink=app.name, reason=str(error) or "time-out")
            answer, outcome = commands.ephemeral(_STORE, self._present), ActionOutcome.FAILED
        self._metrics.chat_actions_total.labels(app.name, "command", outcome.value).inc()
        return answer

    async def _answer(self, app: App, command: Command) -> Mapping[str, Any]:
        if (refusal := await app.elsewhere(command)) is not None:
            return commands.ephemeral(refusal, self._present)
        return await commands.answer(command, self._ledger, self._present)

    async def _take_envelope(self, app: App, kind: str, payload: object) -> Mapping[str, Any] | None:
        if kind == "interactive":
            await self.take_press(app, "socket", payload)
        elif kind == "slash_commands":
            return await self.take_command(app, "socket", payload)
        return None

    async def _handle(self, app: App, via: str, press: Press) -> None:
        try:
            found = await self._acting.posted_at(press.subject, press.reference)
            sink = serves(found, lambda name: self._of_sink.get(name) is app)
            if not await self.audit.begin(press, sink or app.name, via):
                _log.info("chat.repeated", sink=sink or app.name, action=press.action)
                return
            result = await self._result(app, sink, press)
        except StoreError as error:
            _log.warning("chat.action_failed", sink=app.name, action=press.action, reason=str(error))
            sink, result = None, Result(outcome=ActionOutcome.FAILED, answer=str(error), person=_STORE)
        await self.audit.end(press, sink or app.name, result.outcome, result.answer)
        await asyncio.gather(
            tell_person(app.client, press, result.person),
            *([tell_thread(app.client, press, result.thread)] if result.thread else []),
            *([self._show(sink, press.subject)] if result.shows and sink else []),
        )

    async def _result(self, app: App, sink: str | None, press: Press) -> Result:
        if sink is None:
            return Result(outcome=ActionOutcome.OUTDATED, answer="not a current message", person=_GONE)
        allowed = getattr(app.settings_of(sink).allow, press.action)
        refusal = await app.people.refuses(press.action, allowed, press.person.id)
        if refusal is not None:
            return Result(outcome=ActionOutcome.REFUSED, answer=refusal.answer, person=refusal.person)
        return await self._acts.do(press)

    async def _show(self, sink: str, subject: str) -> None:
        """Have the message show it, after whatever is being sent about its subject now."""
        try:
            for _ in range(MOST_LOOKS):
                found = await self._acting.refresh(sink, subject, now=self._clock())
                if found is Refresh.DUE:
                    self._wake()
                if found is not Refresh.IN_FLIGHT:
                    return
                await asyncio.sleep(LOOK_AGAIN)
        except StoreError as error:
            _log.warning("chat.not_shown", sink=sink, subject=subject, reason=str(error))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="chat:action")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("chat.action_broke", exc_info=error)
