"""Headers that keep a job's mails together in every mail reader.

Guarantee: they are the same for all events of one job (a reused id is another job), else of one controller or
sink. They depend on the event alone, so restarts and other replicas continue the same thread.
"""

import base64
import hashlib
from datetime import UTC, datetime

from cmc_notify.ports import Message

_FILETIME_ZERO = datetime(1601, 1, 1, tzinfo=UTC)
_TICKS = 10_000_000
"""The ticks of a FILETIME in a second."""
_SHORT_DIFFERENCE = 1 << 49
"""Ticks, 1.8 years: a shorter difference is written without its last 18 bits, a longer one without 23."""


def thread(message: Message) -> str:
    """Return the left part of the Message-ID that all mails of the thread refer to.

    No mail has this id: which event a reader gets first depends on the routes.
    """
    return f"thread-{_digest(message).hex()[:32]}"


def thread_index(message: Message, date: datetime) -> str:
    """Return ``Thread-Index``, by which Outlook and Exchange group mails.

    It has a header of the thread, and one level for the mail of this date (MS-OXOMSG 2.2.1.3,
    https://learn.microsoft.com/openspecs/exchange_server_protocols/ms-oxomsg/9e994fbb-b839-495f-84e3-2c8c02c7dd9b).
    """
    job = message.event.job
    began = datetime.fromisoformat(job.created) if job and job.created else datetime(2020, 1, 1, tzinfo=UTC)
    header = b"\x01" + (_ticks(began) >> 24).to_bytes(5, "big") + _digest(message)[:16]
    difference = max(_ticks(date) - _ticks(began), 0)
    long = difference >= _SHORT_DIFFERENCE
    level = (long << 31) | (difference >> (23 if long else 18)) & 0x7FFF_FFFF
    own = hashlib.sha256(message.key.encode()).digest()[:1]
    return base64.b64encode(header + level.to_bytes(4, "big") + own).decode()


def _ticks(moment: datetime) -> int:
    return int((moment - _FILETIME_ZERO).total_seconds()) * _TICKS


def _digest(message: Message) -> bytes:
    event = message.event
    job = (event.job.id, event.job.created) if event.job else event.sink
    return hashlib.sha256(repr((event.controller, job)).encode()).digest()
