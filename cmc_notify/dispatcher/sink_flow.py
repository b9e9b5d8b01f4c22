"""Holds a sink's flow, and tells each of its turns once, in the log and as metrics."""

import random

import structlog

from cmc_notify.core.events import rfc3339
from cmc_notify.core.flow_control import FlowControl, FlowState
from cmc_notify.core.outcome import SendOutcome
from cmc_notify.dispatcher.sink_policy import SinkPolicy
from cmc_notify.ports import Clock
from cmc_notify.telemetry import Metrics

_log = structlog.get_logger(__name__)


class SinkFlow:
    """``flow`` is as the last attempt left it."""

    def __init__(self, sink: str, policy: SinkPolicy, *, clock: Clock, metrics: Metrics) -> None:
        self.flow = FlowControl(concurrency=policy.concurrency, retry=policy.retry)
        self._sink = sink
        self._clock = clock
        self._metrics = metrics
        self._update_metrics()

    @property
    def blocked(self) -> str | None:
        """Why the sink waits for an operator, or None."""
        return self.flow.reason if self.flow.state is FlowState.BLOCKED else None

    @property
    def resting(self) -> str | None:
        """Why the sink gets fewer messages than it could, or none, for a while; None where it does not."""
        return self.flow.reason if self.flow.state in (FlowState.THROTTLED, FlowState.CIRCUIT_OPEN) else None

    def capacity(self, in_flight: int) -> int:
        """How many messages may be begun now."""
        return self.flow.capacity(self._clock(), in_flight)

    def deadlines_apply(self) -> bool:
        """Whether deliveries pass their deadlines without another try now."""
        return self.flow.deadlines_apply(self._clock())

    def record_attempt(self, outcome: SendOutcome, *, begun_at: float, now: float) -> None:
        """Count one attempt."""
        before = self.flow.state
        chance = random.random()  # noqa: S311  spreads tries, guards nothing
        self.flow = self.flow.after(outcome, begun_at=begun_at, now=now, chance=chance)
        if self.flow.state is not before:
            self._log_change(before)
        self._update_metrics()

    def _log_change(self, before: FlowState) -> None:
        sink, flow = self._sink, self.flow
        if before is FlowState.BLOCKED:
            _log.info("sink.unblocked", sink=sink)
        if before is FlowState.CIRCUIT_OPEN:
            _log.info("sink.circuit_closed", sink=sink)
        match flow.state:
            case FlowState.BLOCKED:
                _log.error("sink.blocked", sink=sink, reason=flow.reason)
            case FlowState.CIRCUIT_OPEN:
                _log.warning("sink.circuit_opened", sink=sink, reason=flow.reason)
            case FlowState.THROTTLED:
                _log.warning(
                    "sink.throttled", sink=sink, reason=flow.reason, until=rfc3339(flow.throttled_until)
                )
            case FlowState.NORMAL:
                pass

    def _update_metrics(self) -> None:
        self._metrics.sink_blocked.labels(self._sink).set(float(self.blocked is not None))
        self._metrics.sink_paused.labels(self._sink).set(float(self.resting is not None))
