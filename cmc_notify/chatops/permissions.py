"""Checks whether an action is allowed and still makes sense. No I/O: all facts are arguments."""

from collections.abc import Callable, Collection, Iterable, Sequence

from cmc_notify.chatops.payloads import ActionName, Press
from cmc_notify.core.model import Job, JobState
from cmc_notify.core.silences import Silence

ANYBODY = "*"
UNKNOWN_JOB = "the bridge no longer knows this job"
MAX_SILENCE = 7 * 86400.0
"""Seconds until a silence "until the job ends" ends by itself: some jobs never end."""
_MAX_MENTIONS = 10
_HOURS = {"1h": 1, "4h": 4}
_VERBS: dict[ActionName, str] = {
    "cancel": "cancel jobs",
    "acknowledge": "acknowledge failures",
    "silence": "silence jobs",
}


def is_listed(allowed: Sequence[str], person: str) -> bool:
    """Return True if the person is allowed by id, without any user group."""
    return ANYBODY in allowed or person in allowed


def user_groups(allowed: Sequence[str]) -> tuple[str, ...]:
    """Return the user groups among those who are allowed."""
    return tuple(each for each in allowed if each.startswith("S"))


def refusal_text(action: ActionName, allowed: Sequence[str], *, unknown: Iterable[str] = ()) -> str:
    """Return why the person may not, and whom to ask, in Slack's markup.

    ``unknown`` are the reasons, already escaped, why the members of a user group could not be read.
    """
    said = f"Sorry, you may not {_VERBS[action]} from here."
    people = [_mention(each) for each in allowed[:_MAX_MENTIONS]]
    if people:
        said += f" These people may: {', '.join(people)}; ask one of them."
    else:
        said += " Nobody may. The operator of the bridge can change that in its config, under `allow`."
    for reason in unknown:
        said += f"\nThe members of a user group could not be read: {reason}"
    return said


def _mention(person: str) -> str:
    """Return a mention: Slack shows the name. In a message to one person it notifies nobody else."""
    return f"<!subteam^{person}>" if person.startswith("S") else f"<@{person}>"


def cancel_refusal(state: JobState) -> str | None:
    """Return why the job, as last seen, can't be canceled; None if it may be."""
    if state.vanished:
        return f"job {state.job.id} is no longer on the controller"
    if state.job.finished:
        return f"job {state.job.id} is {state.job.status} already"
    return None


def cancel_refusal_now(state: JobState, now: Job | None) -> str | None:
    """Return why the job, as the controller shows it now, must not be canceled; None if it may be or ``now``
    is None.

    An id alone does not identify a job: a restored controller can give it to another job.
    """
    if now is None:
        return None
    known, seen = state.job.creation_time, now.creation_time
    if known is not None and seen is not None and known != seen:
        return f"the controller has another job under the id {now.id} now"
    if now.finished:
        return f"job {now.id} is {now.status} already"
    return None


def build_silence(press: Press, state: JobState, *, silence_id: str, now: float) -> Silence:
    """Return the requested silence: it matches this job and nothing else."""
    hours = _HOURS.get(press.option or "")
    return Silence(
        id=silence_id,
        controllers=(press.controller,),
        jobs=(state.job.id,),
        subject=press.subject,
        starts_at=now,
        ends_at=now + (hours * 3600.0 if hours else MAX_SILENCE),
        until_job=hours is None,
        created_by=press.person.name,
        comment=f"from Slack, by {press.person.id}",
        created_at=now,
    )


def sink_of_app(found: Collection[str], same_app: Callable[[str], bool]) -> str | None:
    """Return the sink of this app among those whose message was pressed; None if there is none."""
    return next((sink for sink in found if same_app(sink)), None)
