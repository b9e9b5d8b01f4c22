"""What a medium's end does to a message: fewer failures, never a silent cut.

A message that is too large for its medium loses failures from the end of its list; the document says how
many (``failures_omitted``), and its ``url`` leads to all of them.
"""

import asyncio
from collections.abc import Callable
from itertools import accumulate

import msgspec

from cmc_notify.ports import Message

_SHRINK = 0.9
_MANY = 200
"""Failures from which rendering takes long enough to hold up other work."""


async def fit_aside(message: Message, make: Callable[[Message], bytes], limit: int) -> bytes | None:
    """As ``fit``; a long message is made in a thread, so that polls and other sinks go on meanwhile."""
    if len(message.event.failures) + len(message.event.recoveries) < _MANY:
        return fit(message, make, limit)
    return await asyncio.to_thread(fit, message, make, limit)


def fit(message: Message, make: Callable[[Message], bytes], limit: int) -> bytes | None:
    """``make(message)``, with as many failures as keep it within ``limit`` bytes.

    None where not even the message without any failure fits.
    """
    document = make(message)
    if len(document) <= limit:
        return document
    keep = _estimate(message, limit / len(document))
    while len(document := make(with_failures(message, keep))) > limit:
        if keep == 0:
            return None
        keep = int(keep * _SHRINK)
    return document


def with_failures(message: Message, keep: int) -> Message:
    """The message with the first ``keep`` of its failures, saying how many are left out."""
    event = message.event
    omitted = event.failures_omitted + len(event.failures) - keep
    short = msgspec.structs.replace(event, failures=event.failures[:keep], failures_omitted=omitted)
    return msgspec.structs.replace(message, event=short)


def _estimate(message: Message, share: float) -> int:
    """How many failures make up ``share`` of all their bytes, and a little less: rarely too many."""
    sizes = list(accumulate(len(msgspec.json.encode(failure)) for failure in message.event.failures))
    room = sizes[-1] * share * 0.98 if sizes else 0.0
    return sum(1 for size in sizes if size <= room)
