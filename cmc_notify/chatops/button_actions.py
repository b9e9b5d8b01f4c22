"""The actions behind the buttons. Guarantee: a press changes nothing except what its result says.

The replica that got the press asks the controller to cancel. It does so at most once at a time for a job,
and only if the controller still shows the same job as unfinished.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from msgspec import Struct

from cmc_notify.chatops.payloads import Press
from cmc_notify.chatops.permissions import UNKNOWN_JOB, build_silence, cancel_refusal, cancel_refusal_now
from cmc_notify.chatops.replies import escaped_line
from cmc_notify.core.model import Job, JobState
from cmc_notify.core.silences import find_problems
from cmc_notify.errors import ControllerError, ControllerUnreachable, JobNotFound, MalformedJob
from cmc_notify.ports import ActionOutcome, ChatActions, Clock, ListedJob, Silences


class JobCanceler(Protocol):
    """The two requests to a controller that cancelling needs; ``ports.JobSource`` has them."""

    async def get_job(self, job_id: int) -> ListedJob:
        """Return one job by id. Raises JobNotFound."""
        ...

    async def cancel_job(self, job_id: int) -> Job:
        """Ask the controller to cancel; return the job as it responds."""
        ...


class ActionResult(Struct, frozen=True, kw_only=True):
    """The result of a press. Texts are in Slack's markup, except ``plain_reply``."""

    outcome: ActionOutcome
    plain_reply: str
    """For the audit."""
    reply: str
    """Shown only to the person who pressed."""
    thread_reply: str | None = None
    """Shown to everybody who follows the message."""
    refresh_message: bool = False
    """True where the message has something new to show."""


class ButtonActions:
    """Performs a press that is current and allowed. Raises StoreUnavailable."""

    def __init__(
        self,
        actions: ChatActions,
        silences: Silences,
        controllers: Mapping[str, JobCanceler],
        *,
        clock: Clock,
    ) -> None:
        self._actions = actions
        self._silences = silences
        self._controllers = controllers
        self._clock = clock
        self._canceling: set[str] = set()

    async def perform(self, press: Press) -> ActionResult:
        """Perform the action of the press."""
        actions: dict[str, Callable[[Press], Awaitable[ActionResult]]] = {
            "cancel": self._cancel,
            "acknowledge": self._acknowledge,
            "silence": self._silence,
        }
        return await actions[press.action](press)

    async def _cancel(self, press: Press) -> ActionResult:
        state = await self._actions.job(press.controller, press.uid)
        controller = self._controllers.get(press.controller)
        if controller is None:
            return _outdated(f"Not canceled: controller {press.controller} is no longer in the config")
        if press.subject in self._canceling:
            return _outdated("Not canceled: somebody else is canceling it right now")
        reason = UNKNOWN_JOB if state is None else cancel_refusal(state)
        if state is None or reason is not None:
            return _outdated(f"Not canceled: {reason}")
        self._canceling.add(press.subject)
        try:
            return await self._request_cancel(press, controller, state)
        finally:
            self._canceling.discard(press.subject)

    async def _request_cancel(self, press: Press, controller: JobCanceler, state: JobState) -> ActionResult:
        job_id, asked = state.job.id, False
        try:
            if (reason := cancel_refusal_now(state, await _current_job(controller, job_id))) is not None:
                return _outdated(f"Not canceled: {reason}")
            asked = True
            canceled = await controller.cancel_job(job_id)
        except JobNotFound as error:
            return _outdated(f"Not canceled: {error}")
        except ControllerUnreachable as error:
            doubt = "whether it was canceled will show here" if asked else "nothing was canceled"
            return _cancel_failed(press, job_id, f"{error}; {doubt}")
        except ControllerError as error:
            return _cancel_failed(press, job_id, str(error))
        who = escaped_line(press.person.name)
        text = f"the controller responded: job {canceled.id} is {canceled.status}"
        return ActionResult(
            outcome=ActionOutcome.DONE,
            plain_reply=text,
            reply=f"Asked to cancel job {job_id}; {escaped_line(text)}.",
            thread_reply=f"{who} asked to cancel job {job_id}; {escaped_line(text)}.",
        )

    async def _acknowledge(self, press: Press) -> ActionResult:
        at = self._clock()
        taken = await self._actions.acknowledge(press.subject, by=press.person.name, at=at)
        if (taken.by, taken.at) != (press.person.name, at):
            text = f"{taken.by} has already acknowledged it"
            return ActionResult(
                outcome=ActionOutcome.OUTDATED,
                plain_reply=text,
                reply=f"{escaped_line(text)}.",
                refresh_message=True,
            )
        return ActionResult(
            outcome=ActionOutcome.DONE,
            plain_reply="acknowledged",
            reply="Acknowledged: the message shows your name.",
            refresh_message=True,
        )

    async def _silence(self, press: Press) -> ActionResult:
        state = await self._actions.job(press.controller, press.uid)
        if state is None or not state.open:
            ended = f"job {state.job.id} has ended" if state else UNKNOWN_JOB
            return _outdated(f"Not silenced: {ended}")
        now = self._clock()
        silence = build_silence(press, state, silence_id=secrets.token_hex(6), now=now)
        if wrong := find_problems(silence, now=now):
            return _outdated(f"Not silenced: {'; '.join(wrong)}")
        await self._silences.add(silence)
        until = "until it ends" if silence.until_job else f"for {round((silence.ends_at - now) / 3600)} h"
        text = f"job {state.job.id} is silent {until} (silence {silence.id})"
        return ActionResult(
            outcome=ActionOutcome.DONE,
            plain_reply=text,
            reply=f"Done: {escaped_line(text)}. End it with `cmc-notify silences expire {silence.id}`.",
            thread_reply=f"{escaped_line(press.person.name)}: {escaped_line(text)}.",
            refresh_message=True,
        )


def _outdated(text: str) -> ActionResult:
    return ActionResult(
        outcome=ActionOutcome.OUTDATED, plain_reply=text, reply=f"{escaped_line(text)}.", refresh_message=True
    )


def _cancel_failed(press: Press, job_id: int, reason: str) -> ActionResult:
    who = escaped_line(press.person.name)
    return ActionResult(
        outcome=ActionOutcome.FAILED,
        plain_reply=reason,
        reply=f"Job {job_id} was not canceled: {escaped_line(reason)}",
        thread_reply=f"{who} tried to cancel job {job_id}, but it failed: {escaped_line(reason)}",
    )


async def _current_job(controller: JobCanceler, job_id: int) -> Job | None:
    """Return the job as the controller shows it; None if it can't be read: then the controller decides."""
    try:
        return (await controller.get_job(job_id)).decode()
    except MalformedJob:
        return None
