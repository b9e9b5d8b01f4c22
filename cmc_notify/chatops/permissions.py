"""May this be done, and does it make sense? Plain functions; what they need to know is given to them."""

from collections.abc import Callable, Collection, Iterable, Sequence

from cmc_notify.chatops.payloads import ActionName, Press
from cmc_notify.core.model import Job, JobState
from cmc_notify.core.silences import Silence

ANYBODY = "*"
UNKNOWN_JOB = "the bridge does not know this job any more"
LONGEST_SILENCE = 7 * 86400.0
"""Seconds until a silence "until the job ends" ends by itself: some jobs never do."""
_MOST_NAMED = 10
_HOURS = {"1h": 1, "4h": 4}
_VERBS: dict[ActionName, str] = {
    "cancel": "cancel jobs",
    "acknowledge": "acknowledge failures",
    "silence": "silence jobs",
}


def named(allowed: Sequence[str], person: str) -> bool:
    """Whether the person is allowed without a look at any user group."""
    return ANYBODY in allowed or person in allowed


def groups(allowed: Sequence[str]) -> tuple[str, ...]:
    """The user groups among those who are allowed."""
    return tuple(each for each in allowed if each.startswith("S"))


def refusal(action: ActionName, allowed: Sequence[str], *, unknown: Iterable[str] = ()) -> str:
    """Why the person may not, in Slack's markup, with whom to ask; ``unknown`` are reasons why a user group
    could not be asked for its members, escaped already.
    """
    said = f"Sorry, you may not {_VERBS[action]} from here."
    people = [_mention(each) for each in allowed[:_MOST_NAMED]]
    if people:
        said += f" These may: {', '.join(people)}; ask one of them."
    else:
        said += " Nobody may: whoever runs the bridge can change that in its config (allow)."
    for reason in unknown:
        said += f"\nWho is in a user group could not be asked: {reason}"
    return said


def _mention(person: str) -> str:
    """Slack shows the name; in a message to one person it calls nobody else."""
    return f"<!subteam^{person}>" if person.startswith("S") else f"<@{person}>"


def not_cancelable(state: JobState) -> str | None:
    """Why the job as last seen can't be canceled, in plain words; None where it may be asked."""
    if state.vanished:
        return f"job {state.job.id} is not on the controller any more"
    if state.job.finished:
        return f"job {state.job.id} is {state.job.status} already"
    return None


def changed_meanwhile(state: JobState, now: Job | None) -> str | None:
    """Why the job, as the controller shows it now, is not to be canceled; None where it is, and where it
    could not be read.

    An id alone does not name a job: a controller that was restored gives it to another.
    """
    if now is None:
        return None
    known, seen = state.job.creation_time, now.creation_time
    if known is not None and seen is not None and known != seen:
        return f"the controller has another job under the id {now.id} now"
    if now.finished:
        return f"job {now.id} is {now.status} already"
    return None


def silence_of(press: Press, state: JobState, *, silence_id: str, now: float) -> Silence:
    """The silence that was asked for: of this very job, and nothing else."""
    hours = _HOURS.get(press.option or "")
    return Silence(
        id=silence_id,
        controllers=(press.controller,),
        jobs=(state.job.id,),
        subject=press.subject,
        starts_at=now,
        ends_at=now + (hours * 3600.0 if hours else LONGEST_SILENCE),
        until_job=hours is None,
        created_by=press.person.name,
        comment=f"from Slack, by {press.person.id}",
        created_at=now,
    )


def serves(found: Collection[str], same_app: Callable[[str], bool]) -> str | None:
    """Of the sinks whose message was pressed, the one that this way in speaks for."""
    return next((sink for sink in found if same_app(sink)), None)
