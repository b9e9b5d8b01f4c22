"""``test``: sends one notification, marked as a test, through the real sink with the real template."""

import asyncio
import secrets
import time
from typing import Annotated, assert_never

import msgspec
import typer

from cmc_notify.app import Plugins, make_renderer, make_sink
from cmc_notify.cli.common import known_name, read_settings, run_async
from cmc_notify.cli.options import ConfigOption, single
from cmc_notify.cli.output import FAILED, print_lines, warn
from cmc_notify.core.events import EventType, event_id, rfc3339
from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message, Posting
from cmc_notify.settings import Settings


def send_test(
    sink: Annotated[str, typer.Argument(help="The sink's name in the config.")],
    config: ConfigOption = None,
    event: Annotated[
        str, typer.Option("--event", help="The type of event to send as a test.")
    ] = EventType.JOB_FAILED.value,
) -> None:
    """Send one test notification, marked as a test, through a real sink."""
    settings, plugins = read_settings(config)
    known_name(sink, settings.sinks, "sink")
    kind = EventType(known_name(event, [*EventType], "event type"))
    outcome = run_async(_send(sink, settings, plugins, _message(kind)))
    print_lines(f"{sink}: {_outcome_text(outcome)}")
    if not isinstance(outcome, Sent):
        raise SystemExit(FAILED)


def _message(kind: EventType) -> Message:
    """Return a sample with a new id and key, so that no receiver treats it as a repeat."""
    now, key = time.time(), f"test-{secrets.token_hex(8)}"
    event = msgspec.structs.replace(sample(kind), id=event_id(now, 0, key), time=rfc3339(now) or "", url=None)
    return Message(key=key, event=event, subject=key, is_test=True)


async def _send(name: str, settings: Settings, plugins: Plugins, message: Message) -> SendOutcome:
    renderer = make_renderer(
        settings, lambda error: warn(f"the plain message is sent instead: {error}"), plugins=plugins
    )
    timeout = settings.sinks[name].timeout
    sink = make_sink(name, settings.sinks[name], plugins, renderer)

    async def record(_part: str, _receipt: str, *, posting: Posting | None = None) -> None:
        """Record nothing: a test is not stored."""

    try:
        async with asyncio.timeout(timeout):
            return await sink.send(message, record)
    except TimeoutError:
        return Unclear(f"no response within {timeout:g} s")
    finally:
        await sink.close()


def _outcome_text(outcome: SendOutcome) -> str:
    match outcome:
        case Sent(receipt):
            return f"sent; the receiver responded: {receipt}" if receipt else "sent"
        case RetryLater(reason):
            return f"not sent; the bridge would retry later: {reason}"
        case Unclear(reason):
            return f"unclear, it may have arrived; the bridge would check, then send again: {reason}"
        case Rejected(reason):
            return f"rejected; a retry would not help: {reason}"
        case Blocked(reason):
            return f"blocked until an operator acts: {reason}"
        case _:
            assert_never(outcome)


app = single(send_test)
