"""The event loop's delay is measured, and logged if it is long."""

import asyncio
import time

import pytest
import structlog

from cmc_notify.app import loop_monitor
from cmc_notify.app.loop_monitor import monitor_loop
from cmc_notify.telemetry import Metrics


def measured(metrics: Metrics) -> tuple[float, float]:
    """Return the number of measurements, and the sum of their delays in seconds."""
    samples = {
        sample.name: sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name.startswith("cmc_notify_loop_stall_seconds_") and not sample.labels
    }
    return samples["cmc_notify_loop_stall_seconds_count"], samples["cmc_notify_loop_stall_seconds_sum"]


async def measurements(metrics: Metrics, count: int) -> None:
    """Wait for so many more measurements."""
    before, _ = measured(metrics)
    async with asyncio.timeout(10):
        while measured(metrics)[0] < before + count:  # noqa: ASYNC110  a metric tells nobody
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(("log_every", "told"), [(60.0, 1), (0.0, 3)])
async def test_a_loop_that_stands_still(monkeypatch: pytest.MonkeyPatch, log_every: float, told: int) -> None:
    """Each stall is in the metric; the first is logged, and others only after a while."""
    monkeypatch.setattr(loop_monitor, "LOG_EVERY", log_every)
    metrics = Metrics()
    watching = asyncio.create_task(monitor_loop(metrics, check_every=0.01, late=0.25))
    with structlog.testing.capture_logs() as logged:
        await measurements(metrics, 2)
        for _ in range(3):
            time.sleep(0.4)  # noqa: ASYNC251  this is the stall
            await measurements(metrics, 2)
    watching.cancel()
    assert len(logged) >= told
    assert (len(logged) == 1) is (told == 1)
    assert logged[0]["event"] == "loop.stalled"
    assert logged[0]["log_level"] == "warning"
    assert logged[0]["seconds"] >= 0.35
    assert measured(metrics)[1] >= 1.0
