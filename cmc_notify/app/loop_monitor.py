"""How late the event loop is: while it stands still, nothing is polled, delivered or answered."""

import asyncio

import structlog

from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

CHECK_EVERY = 0.25
"""Seconds between two looks."""
LATE = 1.0
"""Seconds of lateness that the log tells."""
LOG_EVERY = 60.0
"""Seconds between two such lines; the metric knows check_every one."""


async def monitor_loop(metrics: Metrics, *, check_every: float = CHECK_EVERY, late: float = LATE) -> None:
    """Measure until cancelled."""
    clock = asyncio.get_running_loop().time
    logged_at = float("-inf")
    while True:
        started = clock()
        await asyncio.sleep(check_every)
        delay = max(0.0, clock() - started - check_every)
        metrics.loop_stall_seconds.observe(delay)
        if delay > late and clock() - logged_at >= LOG_EVERY:
            logged_at = clock()
            _log.warning(
                "loop.stalled",
                seconds=round(delay, 3),
                cause="the machine is too busy, the process was suspended, or one piece of work takes long",
            )
