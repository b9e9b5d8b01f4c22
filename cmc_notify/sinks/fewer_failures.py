"""Fitting a message into a receiver's limit by leaving out failures, never by a silent cut.

A message that is too large loses failures from the end of its list. The document says how many
(``failures_omitted``), and its ``url`` leads to all of them. Where one text can fill the limit, texts are
shortened first, and each says by how much.
"""

import asyncio
from collections.abc import Callable
from itertools import accumulate
from typing import TypeVar

import msgspec

from cmc_notify.core.text import shorten
from cmc_notify.ports import Message

T = TypeVar("T")

_SHRINK = 0.9
_MANY = 200
_LONG = 200_000
"""Failures, and characters of their texts, from which rendering would block other work for too long."""
SHORT_TEXT = 200
SHORT_ERROR = 600
"""Characters of one failure's text, and of a pre-push error, where the limit is small."""


async def fit_failures_in_thread(
    message: Message, make: Callable[[Message], bytes], limit: int
) -> bytes | None:
    """Call ``fit_failures``; for a long message in a thread, so that polls and other sinks go on."""
    return await in_thread_if_long(message, lambda: fit_failures(message, make, limit))


async def in_thread_if_long(message: Message, make: Callable[[], T]) -> T:
    """Return ``make()``; for a long message it runs in a thread."""
    return await asyncio.to_thread(make) if _takes_long(message) else make()


def _takes_long(message: Message) -> bool:
    event = message.event
    if len(event.failures) + len(event.recoveries) >= _MANY:
        return True
    error = (event.job and event.job.error_text) or event.reason or ""
    return len(error) + sum(len(failure.error_text or "") for failure in event.failures) >= _LONG


def fit_failures(message: Message, make: Callable[[Message], bytes], limit: int) -> bytes | None:
    """Return ``make(message)`` with as many failures as fit into ``limit`` bytes.

    Returns None if the message is too large even without any failure.
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
    """Return the message with its first ``keep`` failures; it says how many are left out."""
    event = message.event
    omitted = event.failures_omitted + len(event.failures) - keep
    short = msgspec.structs.replace(event, failures=event.failures[:keep], failures_omitted=omitted)
    return msgspec.structs.replace(message, event=short)


def fit_with_short_texts(
    message: Message, make: Callable[[Message], str], fits: Callable[[str], bool]
) -> str | None:
    """Return ``make(message)`` with short texts and as many failures as ``fits`` allows.

    Returns None if it does not fit even without any failure. Renders at most about twice what fits.
    """
    short = with_short_texts(message)
    total = len(message.event.failures) or len(message.event.recoveries)
    best: str | None = None
    low, high, keep = -1, total + 1, min(total, 1)
    while low + 1 < high:
        made = make(with_first_entries(short, keep))
        if fits(made):
            best, low = made, keep
            # First double the number until it is too large, then search between.
            keep = (low + high) // 2 if high <= total else min(2 * low + 1, total)
        else:
            high = keep
            keep = (low + high) // 2 if low >= 0 else 0
    return best


def with_short_texts(message: Message, text: int = SHORT_TEXT, error: int = SHORT_ERROR) -> Message:
    """Return the message with shortened error texts, each of which says how many more characters it has."""
    event = message.event
    failures = tuple(
        failure
        if len(failure.error_text or "") <= text
        else msgspec.structs.replace(failure, error_text=shorten(failure.error_text or "", text))
        for failure in event.failures
    )
    job = event.job
    if job and job.error_text:
        job = msgspec.structs.replace(job, error_text=shorten(job.error_text, error))
    return msgspec.structs.replace(message, event=msgspec.structs.replace(event, failures=failures, job=job))


def with_first_entries(message: Message, keep: int) -> Message:
    """Return the message with its first ``keep`` failures, or recoveries if it has no failures."""
    event = message.event
    if event.failures or not event.recoveries:
        return with_failures(message, keep)
    omitted = event.failures_omitted + len(event.recoveries) - keep
    short = msgspec.structs.replace(event, recoveries=event.recoveries[:keep], failures_omitted=omitted)
    return msgspec.structs.replace(message, event=short)


def _estimate(message: Message, share: float) -> int:
    """Return how many failures make up a little less than ``share`` of the bytes of all."""
    sizes = list(accumulate(len(msgspec.json.encode(failure)) for failure in message.event.failures))
    room = sizes[-1] * share * 0.98 if sizes else 0.0
    return sum(1 for size in sizes if size <= room)
