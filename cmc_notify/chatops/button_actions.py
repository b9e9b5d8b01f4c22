"""What each button does. Guarantee: a press changes nothing beyond what its result says.

Cancelling is asked of the controller by whichever replica got the press, at most once at a time for a job,
and only if the controller still shows that very job as unfinished.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from msgspec import Struct

from cmc_notify.chatops.payloads import Press
from cmc_notify.chatops.permissions import UNKNOWN_JOB, changed_meanwhile, not_cancelable, silence_of
from cmc_notify.chatops.replies import quoted
from cmc_notify.core.model import Job, JobState
from cmc_notify.core.silences import problems
from cmc_notify.errors import ControllerError, ControllerUnreachable, JobNotFound, MalformedJob
from cmc_notify.ports import ActionOutcome, ChatActions, Clock, ListedJob, Silences


class JobCanceler(Protocol):
    """What is asked of a controller here; ``ports.JobSource`` has it."""

    async def get_job(self, job_id: int) -> ListedJob:
        """One job by id; raises JobNotFound."""
        ...

    async def cancel_job(self, job_id: int) -> Job:
        """Ask the controller to cancel; returns the job as it answers."""
        ...


class Result(Struct, frozen=True, kw_only=True):
    """What came of a press. Texts are Slack's markup, but for ``answer``, which is plain."""

    outcome: ActionOutcome
    answer: str
    person: str
    """Told to who pressed."""
    thread: str | None = None
    """Told to all who follow the message."""
    shows: bool = False
    """Whether the message has to show something new."""


class ButtonActions:
    """Does what a press asks for, once it is known to be current and allowed. Raises StoreUnavailable."""

    def __init__(
        self,
        acting: ChatActions,
        silences: Silences,
        controllers: Mapping[str, JobCanceler],
        *,
        clock: Clock,
    ) -> None:
        self._acting = acting
        self._silences = silences
        self._controllers = controllers
        self._clock = clock
        self._canceling: set[str] = set()

    async def do(self, press: Press) -> Result:
        """The press's action."""
        actions: dict[str, Callable[[Press], Awaitable[Result]]] = {
            "cancel": self._cancel,
            "acknowledge": self._acknowledge,
            "silence": self._silence,
        }
        return await actions[press.action](press)

    async def _cancel(self, press: Press) -> Result:
        state = await self._acting.job(press.controller, press.uid)
        controller = self._controllers.get(press.controller)
        if controller is None:
            return _outdated(f"Not canceled: controller {press.controller} is not in the config any more")
        if press.subject in self._canceling:
            return _outdated("Not canceled: somebody else is canceling it just now")
        reason = UNKNOWN_JOB if state is None else not_cancelable(state)
        if state is None or reason is not None:
            return _outdated(f"Not canceled: {reason}")
        self._canceling.add(press.subject)
        try:
            return await self._ask(press, controller, state)
        finally:
            self._canceling.discard(press.subject)

    async def _ask(self, press: Press, controller: JobCanceler, state: JobState) -> Result:
        job_id, asked = state.job.id, False
        try:
            if (reason := changed_meanwhile(state, await _shown(controller, job_id))) is not None:
                return _outdated(f"Not canceled: {reason}")
            asked = True
            answered = await controller.cancel_job(job_id)
        except JobNotFound as error:
            return _outdated(f"Not canceled: {error}")
        except ControllerUnreachable as error:
            doubt = "whether it was canceled will show here" if asked else "nothing was canceled"
            return _not_done(press, job_id, f"{error}; {doubt}")
        except ControllerError as error:
            return _not_done(press, job_id, str(error))
        said = f"the controller answers: job {answered.id} is {answered.status}"
        return Result(
            outcome=ActionOutcome.DONE,
            answer=said,
            person=f"Asked to cancel job {job_id}; {quoted(said)}.",
            thread=f"{quoted(press.person.name)} asked to cancel job {job_id}; {quoted(said)}.",
        )

    async def _acknowledge(self, press: Press) -> Result:
        at = self._clock()
        taken = await self._acting.acknowledge(press.subject, by=press.person.name, at=at)
        if (taken.by, taken.at) != (press.person.name, at):
            said = f"{taken.by} has acknowledged it already"
            return Result(outcome=ActionOutcome.OUTDATED, answer=said, person=f"{quoted(said)}.", shows=True)
        return Result(
            outcome=ActionOutcome.DONE,
            answer="acknowledged",
            person="Acknowledged: the message shows that you have it.",
            shows=True,
        )

    async def _silence(self, press: Press) -> Result:
        state = await self._acting.job(press.controller, press.uid)
        if state is None or not state.open:
            ended = f"job {state.job.id} has ended" if state else UNKNOWN_JOB
            return _outdated(f"Not silenced: {ended}")
        now = self._clock()
        silence = silence_of(press, state, silence_id=secrets.token_hex(6), now=now)
        if wrong := problems(silence, now=now):
            return _outdated(f"Not silenced: {'; '.join(wrong)}")
        await self._silences.add(silence)
        until = "until it ends" if silence.until_job else f"for {round((silence.ends_at - now) / 3600)} h"
        said = f"job {state.job.id} is silent {until} (silence {silence.id})"
        return Result(
            outcome=ActionOutcome.DONE,
            answer=said,
            person=f"Done: {quoted(said)}. End it with `cmc-notify silences expire {silence.id}`.",
            thread=f"{quoted(press.person.name)}: {quoted(said)}.",
            shows=True,
        )


def _outdated(said: str) -> Result:
    return Result(outcome=ActionOutcome.OUTDATED, answer=said, person=f"{quoted(said)}.", shows=True)


def _not_done(press: Press, job_id: int, words: str) -> Result:
    return Result(
        outcome=ActionOutcome.FAILED,
        answer=words,
        person=f"Job {job_id} was not canceled: {quoted(words)}",
        thread=f"{quoted(press.person.name)} asked to cancel job {job_id}, without success: {quoted(words)}",
    )


async def _shown(controller: JobCanceler, job_id: int) -> Job | None:
    """The job as the controller shows it now; None where that can't be read, and it knows best itself."""
    try:
        return (await controller.get_job(job_id)).decode()
    except MalformedJob:
        return None
