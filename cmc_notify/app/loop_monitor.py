"""How late the event loop is: while it stands still, nothing is polled, delivered or answered."""

import asyncio

import structlog

from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

EVERY = 0.25
"""Seconds between two looks."""
LATE = 1.0
"""Seconds of lateness that the log tells."""
TELL_EVERY = 60.0
"""Seconds between two such lines; the metric knows every one."""


async def watch_stalls(metrics: Metrics, *, every: float = EVERY, late: float = LATE) -> None:
    """Measure until cancelled."""
    clock = asyncio.get_running_loop().time
    told_at = float("-inf")
    while True:
        asked = clock()
        await asyncio.sleep(every)
        stall = max(0.0, clock() - asked - every)
        metrics.loop_stall_seconds.observe(stall)
        if stall > late and clock() - told_at >= TELL_EVERY:
            told_at = clock()
            _log.warning(
                "loop.stalled",
                seconds=round(stall, 3),
                cause="the machine is too busy, the process was suspended, or one piece of work takes long",
            )
