"""Measure the delay of the event loop: while it is blocked, no poll, delivery or response happens."""

import asyncio

import structlog

from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)

CHECK_EVERY = 0.25
"""Seconds between two measurements."""
LATE = 1.0
"""Seconds of delay from which a line is logged."""
LOG_EVERY = 60.0
"""Seconds between two such lines; the metric counts every delay."""


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
