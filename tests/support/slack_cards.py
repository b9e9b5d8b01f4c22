"""Messages of one job, sent to Slack in order."""

from typing import Any

import msgspec

from cmc_notify.core.events import Event, EventType, Failure
from cmc_notify.core.outcome import Sent
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message
from cmc_notify.simulator.slack_messages import SlackMessage
from cmc_notify.sinks.slack import BotSink
from support.recorded_parts import Parts
from support.slack_bot import URL

POST, UPDATE = "chat.postMessage", "chat.update"
SUBJECT = "job:emea:42-1795425000"


def message_of(kind: EventType, *texts: str, **more: Any) -> Message:
    """An event of this type about one job, with one failure for each text."""
    event: Event = msgspec.structs.replace(sample(kind), url=URL)
    if texts:
        failures = tuple(
            Failure(f"V2AB{number:05}", f"edge-{number}", 3, "QoS", text, new=True)
            for number, text in enumerate(texts)
        )
        event = msgspec.structs.replace(event, failures=failures)
    return Message(key=f"key-{kind}", event=event, subject=SUBJECT, **more)


async def send_all(sink: BotSink, parts: Parts, *messages: Message) -> None:
    """Each in turn, as the outbox hands them out; all of them are taken."""
    for message in messages:
        outcome = await sink.send(parts.next(message), parts)
        assert isinstance(outcome, Sent), outcome


def kinds(replies: list[SlackMessage]) -> list[str]:
    """Return the messages that each reply was posted for, by key."""
    return [
        reply.raw["metadata"]["event_payload"]["key"].removeprefix("key-")
        for reply in replies
        if not reply.files
    ]
