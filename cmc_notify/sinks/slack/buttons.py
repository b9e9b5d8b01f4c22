"""The buttons under a job's message, and how a press is read.

The block's id names the subject (``subject_of``), an element's ``action_id`` the action, and the value of the
chosen option the duration. So any replica can understand a press.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from cmc_notify.core.events import EventType
from cmc_notify.core.model import FINISHED, Status
from cmc_notify.ports import Message
from cmc_notify.sinks.slack.limits import IDENTIFIER, Block
from cmc_notify.sinks.slack.settings import SlackSettings

CANCEL = "cmc_cancel"
ACKNOWLEDGE = "cmc_acknowledge"
SILENCE = "cmc_silence"
SILENCE_FOR = {"1h": "1 hour", "4h": "4 hours", "job": "until the job ends"}
"""The values of the options of SILENCE, each with its label."""
_MARK = "#"
_CANCELABLE = (Status.QUEUED, Status.IN_PROGRESS)
_IN_TROUBLE = (EventType.JOB_FAILED, EventType.APPLIANCE_FAILED, EventType.JOB_OVERDUE)


def buttons(message: Message, settings: SlackSettings) -> list[Block]:
    """Return the actions block for the job's present state, as a list of none or one."""
    elements = [*_elements(message, settings)]
    block_id = _block_id(message)
    if not elements or not message.subject.startswith("job:") or len(block_id) > IDENTIFIER:
        return []
    return [{"type": "actions", "block_id": block_id, "elements": elements}]


def subject_of(block_id: str) -> str:
    """Return the subject of a block that ``buttons`` made: ``job:<controller>:<uid>``."""
    return block_id.rpartition(_MARK)[0]


def _elements(message: Message, settings: SlackSettings) -> Iterator[dict[str, Any]]:
    event, job = message.event, message.event.job
    if job is None or message.is_test or not settings.interactive:
        return
    gone = event.type is EventType.JOB_VANISHED
    if settings.allow.cancel and job.status in _CANCELABLE and not gone:
        yield _cancel(job.id)
    in_trouble = job.status == Status.FAILED or job.counts.failed or event.type in _IN_TROUBLE
    if settings.allow.acknowledge and in_trouble and message.acknowledged is None:
        yield {"type": "button", "action_id": ACKNOWLEDGE, "text": _plain("Acknowledge")}
    if settings.allow.silence and job.status not in FINISHED and not gone:
        yield {
            "type": "static_select",
            "action_id": SILENCE,
            "placeholder": _plain("Silence…"),
            "options": [{"text": _plain(label), "value": value} for value, label in SILENCE_FOR.items()],
        }


def _cancel(job_id: int) -> dict[str, Any]:
    return {
        "type": "button",
        "action_id": CANCEL,
        "text": _plain("Cancel job"),
        "style": "danger",
        "confirm": {
            "title": _plain(f"Cancel job {job_id}?"),
            "text": _plain("The controller is asked to cancel it. Its response follows here."),
            "confirm": _plain("Cancel the job"),
            "deny": _plain("Let it run"),
            "style": "danger",
        },
    }


def _block_id(message: Message) -> str:
    """Return an id that differs for each state of the message: else a menu keeps the old choice."""
    state = f"{message.event.id} {message.purpose} {message.acknowledged} {message.silenced}"
    return f"{message.subject}{_MARK}{hashlib.sha256(state.encode()).hexdigest()[:12]}"


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}
