"""Apply a sink's flow control, and show each change of its state once, in the log and as metrics."""

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
    """The flow of one sink. ``control`` is as the last attempt left it."""

    def __init__(self, sink: str, policy: SinkPolicy, *, clock: Clock, metrics: Metrics) -> None:
        self.control = FlowControl(concurrency=policy.concurrency, retry=policy.retry)
        self._sink = sink
        self._clock = clock
        self._metrics = metrics
        self._update_metrics()

    @property
    def blocked(self) -> str | None:
        """The reason if an operator must act, else None."""
        return self._reason(FlowState.BLOCKED)

    @property
    def circuit_open(self) -> str | None:
        """The reason if the circuit is open or half-open, else None."""
        return self._reason(FlowState.CIRCUIT_OPEN)

    @property
    def throttled(self) -> str | None:
        """The reason if the receiver asked for a pause (Retry-After), else None."""
        return self._reason(FlowState.THROTTLED)

    def capacity(self, in_flight: int) -> int:
        """Return the number of messages that may be started now."""
        return self.control.capacity(self._clock(), in_flight)

    def deadlines_apply(self) -> bool:
        """Return True if deliveries may reach their deadlines now without another try."""
        return self.control.deadlines_apply(self._clock())

    def record_attempt(self, outcome: SendOutcome, *, begun_at: float, now: float) -> None:
        """Count one attempt."""
        before = self.control.state
        chance = random.random()  # noqa: S311  spreads tries, guards nothing
        self.control = self.control.after(outcome, begun_at=begun_at, now=now, chance=chance)
        if self.control.state is not before:
            self._log_change(before)
        self._update_metrics()

    def _reason(self, state: FlowState) -> str | None:
        return self.control.reason if self.control.state is state else None

    def _log_change(self, before: FlowState) -> None:
        sink, control = self._sink, self.control
        if before is FlowState.BLOCKED:
            _log.info("sink.unblocked", sink=sink)
        if before is FlowState.CIRCUIT_OPEN:
            _log.info("sink.circuit_closed", sink=sink)
        match control.state:
            case FlowState.BLOCKED:
                _log.error("sink.blocked", sink=sink, reason=control.reason)
            case FlowState.CIRCUIT_OPEN:
                _log.warning("sink.circuit_opened", sink=sink, reason=control.reason)
            case FlowState.THROTTLED:
                until = rfc3339(control.throttled_until)
                _log.warning("sink.throttled", sink=sink, reason=control.reason, until=until)
            case FlowState.NORMAL:
                pass

    def _update_metrics(self) -> None:
        for gauge, reason in (
            (self._metrics.sink_blocked, self.blocked),
            (self._metrics.sink_circuit_open, self.circuit_open),
            (self._metrics.sink_throttled, self.throttled),
        ):
            gauge.labels(self._sink).set(float(reason is not None))
