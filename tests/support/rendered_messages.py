"""Messages for tests of rendering."""

from collections.abc import Callable

import msgspec

from cmc_notify.core.events import Event, EventType, Failure
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message

DOCUMENTS = [
    ("console", "txt"),
    ("email", "subject"),
    ("email", "txt"),
    ("email", "html"),
    ("slack", "mrkdwn"),
    ("slack", "txt"),
    ("webhook", "json"),
    ("slack", "card"),
]


def message_of(event: Event) -> Message:
    """Return a message that holds the event."""
    return Message(key="k", event=event)


def failed_event(number: int, text: Callable[[int], str]) -> Event:
    """Return a failed job with this many failures."""
    failures = tuple(
        Failure(f"V{index}", f"host-{index}", index % 7, f"F{index % 7}", text(index), new=True)
        for index in range(number)
    )
    return msgspec.structs.replace(sample(EventType.JOB_FAILED), failures=failures)
