"""The thread reply of each event, in a channel where a job has one message of its own, its card.

The card always shows the job's present state. Events that people must not miss follow as a reply in the
card's thread, which stays when the card changes. The end of a job, and events that need somebody, are also
shown in the channel.
"""

from enum import Enum

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import EventType
from cmc_notify.ports import Message


class ThreadReply(Enum):
    """The reply of an event in the card's thread."""

    NONE = "nothing"
    QUIET = "in the thread alone"
    BROADCAST = "in the thread and in the channel"


_REPLIES = {
    EventType.JOB_QUEUED: ThreadReply.NONE,
    EventType.JOB_STARTED: ThreadReply.NONE,
    EventType.JOB_PROGRESS: ThreadReply.NONE,
    EventType.JOB_SUCCEEDED: ThreadReply.NONE,
    EventType.JOB_CANCELED: ThreadReply.QUIET,
    EventType.JOB_REOPENED: ThreadReply.QUIET,
    EventType.APPLIANCE_FAILED: ThreadReply.QUIET,
    EventType.JOB_FAILED: ThreadReply.BROADCAST,
    EventType.APPLIANCE_RECOVERED: ThreadReply.BROADCAST,
    EventType.JOB_OVERDUE: ThreadReply.BROADCAST,
    EventType.JOB_VANISHED: ThreadReply.BROADCAST,
}


def thread_reply(message: Message) -> ThreadReply:
    """Return the reply that the message of a job's event adds to the thread.

    An error text is always there whole: the card keeps only the present state.
    """
    event = message.event
    if message.purpose is Purpose.FOLLOW:
        return ThreadReply.NONE
    chosen = _REPLIES.get(event.type, ThreadReply.QUIET)
    has_errors = event.failures or (event.job and event.job.error_text)
    return ThreadReply.QUIET if chosen is ThreadReply.NONE and has_errors else chosen
