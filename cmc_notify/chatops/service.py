"""Actions from Slack, from the press to the last reply.

Guarantee: a press is acknowledged at once and handled in a separate task. The same press acts once, however
often and to whichever replica Slack sends it. It counts only if its message is the current one for its
subject in the store, and only if the person has the right. Nothing here ever stops a poll or a delivery.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import structlog

from cmc_notify.chatops import commands
from cmc_notify.chatops.apps import App, apps
from cmc_notify.chatops.audit import Audit
from cmc_notify.chatops.button_actions import ActionResult, ButtonActions, JobCanceler
from cmc_notify.chatops.payloads import Command, Press, UnreadablePayload, read_command, read_press
from cmc_notify.chatops.permissions import sink_of_app
from cmc_notify.chatops.replies import reply_in_thread, reply_privately
from cmc_notify.chatops.socket_mode import SocketModeConnection
from cmc_notify.errors import StoreError
from cmc_notify.ports import ActionOutcome, ChatActions, Clock, Ledger, RefreshResult, Silences
from cmc_notify.settings.base import SinkSettings
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

MAX_CONCURRENT_PRESSES = 64
"""Presses that are handled at the same time; beyond that, people are asked to try again."""
COMMAND_TIMEOUT = 2.0
"""Seconds; Slack expects the reply within three."""
REFRESH_RETRY_AFTER, MAX_REFRESH_TRIES = 0.5, 60
"""Seconds between tries to refresh a message that is being sent now, and how many tries."""
SOCKET_STOP_TIMEOUT = 1.0
_NOT_CURRENT = (
    "This message is no longer current, so nothing was done. Look for the newest one about this job."
)
_BUSY = "The bridge is busy, and nothing was done. Please try again in a moment."
_STORE = "The bridge can't read its store at the moment. Nothing is known to be done; please try again later."


class ChatOps:
    """All Slack apps of one config. Use it once: after ``stop`` it can't start again."""

    def __init__(
        self,
        sinks: Mapping[str, SinkSettings],
        controllers: Mapping[str, JobCanceler],
        context: commands.CommandContext,
        *,
        actions: ChatActions,
        ledger: Ledger,
        silences: Silences,
        on_message_due: Callable[[], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """``on_message_due`` is called when a message must be sent again."""
        self.apps = apps(sinks, clock=clock)
        self._app_of_sink = {name: app for app in self.apps for name in app.sinks}
        self._context = context
        self._actions = actions
        self._ledger = ledger
        self._on_message_due = on_message_due
        self._clock = clock
        self._metrics = metrics
        self._button_actions = ButtonActions(actions, silences, controllers, clock=clock)
        self.audit = Audit(actions, metrics=metrics, clock=clock)
        self.stopping = False
        self._sockets: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Connect every app that has a token for Socket Mode."""
        for app in self.apps:
            if app.uses_socket_mode:
                socket = SocketModeConnection(
                    app.name, app.settings, partial(self._handle_envelope, app), metrics=self._metrics
                )
                self._sockets.append(asyncio.create_task(socket.run(), name=f"chat:socket:{app.name}"))

    async def stop(self, grace: float) -> None:
        """EnvelopeHandler nothing more, and finish what was begun within ``grace`` seconds."""
        self.stopping = True
        for task in self._sockets:
            task.cancel()
        if self._sockets:
            await asyncio.wait(self._sockets, timeout=SOCKET_STOP_TIMEOUT)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in tuple(self._tasks):
            _log.warning("chat.action_cut_short", task=task.get_name())
            task.cancel()
        await self.close()

    async def close(self) -> None:
        """Release connections; sufficient if ``start`` was never called."""
        await asyncio.gather(*(app.close() for app in self.apps), return_exceptions=True)

    def app_of(self, sink: str) -> App | None:
        """Return the app of this sink; None if the sink takes no presses or commands."""
        return self._app_of_sink.get(sink)

    async def handle_press(self, app: App, via: str, payload: object) -> None:
        """Start to handle a press; return at once, before it has any effect."""
        try:
            press = read_press(payload)
        except UnreadablePayload as error:
            self._start_task(
                self.audit.record_unidentified(app.name, via, ActionOutcome.UNREADABLE, str(error))
            )
            return
        if press is None:
            return
        if len(self._tasks) >= MAX_CONCURRENT_PRESSES:
            _log.warning("chat.press_dropped", sink=app.name, action=press.action)
            if len(self._tasks) < 2 * MAX_CONCURRENT_PRESSES:
                self._start_task(reply_privately(app.client, press, _BUSY))
            return
        self._start_task(self._process_press(app, via, press))

    async def handle_command(self, app: App, via: str, payload: object) -> Mapping[str, Any] | None:
        """Return the reply to a command, in time; None if the payload is not valid."""
        try:
            command = read_command(payload)
        except UnreadablePayload as error:
            self._start_task(
                self.audit.record_unidentified(app.name, via, ActionOutcome.UNREADABLE, str(error))
            )
            return None
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                reply = await self._reply(app, command)
            outcome = ActionOutcome.DONE
        except (StoreError, TimeoutError) as error:
            _log.warning("chat.command_failed", sink=app.name, reason=str(error) or "time-out")
            reply, outcome = commands.ephemeral_message(_STORE, self._context), ActionOutcome.FAILED
        self._metrics.chat_actions_total.labels(app.name, "command", outcome.value).inc()
        return reply

    async def _reply(self, app: App, command: Command) -> Mapping[str, Any]:
        if (refusal := await app.channel_refusal(command)) is not None:
            return commands.ephemeral_message(refusal, self._context)
        return await commands.reply_to(command, self._ledger, self._context)

    async def _handle_envelope(self, app: App, kind: str, payload: object) -> Mapping[str, Any] | None:
        if kind == "interactive":
            await self.handle_press(app, "socket", payload)
        elif kind == "slash_commands":
            return await self.handle_command(app, "socket", payload)
        return None

    async def _process_press(self, app: App, via: str, press: Press) -> None:
        try:
            found = await self._actions.posted_at(press.subject, press.reference)
            sink = sink_of_app(found, lambda name: self._app_of_sink.get(name) is app)
            if not await self.audit.begin(press, sink or app.name, via):
                _log.info("chat.press_repeated", sink=sink or app.name, action=press.action)
                return
            result = await self._act_on_press(app, sink, press)
        except StoreError as error:
            _log.warning("chat.action_failed", sink=app.name, action=press.action, reason=str(error))
            sink, result = (
                None,
                ActionResult(outcome=ActionOutcome.FAILED, plain_reply=str(error), reply=_STORE),
            )
        await self.audit.end(press, sink or app.name, result.outcome, result.plain_reply)
        await asyncio.gather(
            reply_privately(app.client, press, result.reply),
            *([reply_in_thread(app.client, press, result.thread_reply)] if result.thread_reply else []),
            *([self._refresh_message(sink, press.subject)] if result.refresh_message and sink else []),
        )

    async def _act_on_press(self, app: App, sink: str | None, press: Press) -> ActionResult:
        if sink is None:
            return ActionResult(
                outcome=ActionOutcome.OUTDATED, plain_reply="not a current message", reply=_NOT_CURRENT
            )
        allowed = getattr(app.settings_of(sink).allow, press.action)
        refusal = await app.people.refusal_for(press.action, allowed, press.person.id)
        if refusal is not None:
            return ActionResult(
                outcome=ActionOutcome.REFUSED, plain_reply=refusal.plain_reply, reply=refusal.reply
            )
        return await self._button_actions.perform(press)

    async def _refresh_message(self, sink: str, subject: str) -> None:
        """Bring the message up to date, after a delivery about its subject that is being sent now."""
        try:
            for _ in range(MAX_REFRESH_TRIES):
                found = await self._actions.refresh(sink, subject, now=self._clock())
                if found is RefreshResult.DUE:
                    self._on_message_due()
                if found is not RefreshResult.IN_FLIGHT:
                    return
                await asyncio.sleep(REFRESH_RETRY_AFTER)
        except StoreError as error:
            _log.warning("chat.refresh_failed", sink=sink, subject=subject, reason=str(error))

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="chat:action")
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("chat.action_crashed", exc_info=error)
