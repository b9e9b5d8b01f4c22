"""Holds a sink's gate, and tells each of its turns once, in the log and as metrics."""

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
    """``gate`` is as the last attempt left it."""

    def __init__(self, sink: str, plan: SinkPolicy, *, clock: Clock, metrics: Metrics) -> None:
        self.gate = FlowControl(concurrency=plan.concurrency, retry=plan.retry)
        self._sink = sink
        self._clock = clock
        self._metrics = metrics
        self._show()

    @property
    def blocked(self) -> str | None:
        """Why the sink waits for an operator, or None."""
        return self.gate.reason if self.gate.state is FlowState.BLOCKED else None

    @property
    def resting(self) -> str | None:
        """Why the sink gets fewer messages than it could, or none, for a while; None where it does not."""
        return self.gate.reason if self.gate.state in (FlowState.PAUSED, FlowState.OPEN) else None

    def room(self, in_flight: int) -> int:
        """How many messages may be begun now."""
        return self.gate.room(self._clock(), in_flight)

    def ages(self) -> bool:
        """Whether deliveries pass their deadlines without another try now."""
        return self.gate.ages(self._clock())

    def judge(self, outcome: SendOutcome, *, begun_at: float, now: float) -> None:
        """Count one attempt."""
        before = self.gate.state
        chance = random.random()  # noqa: S311  spreads tries, guards nothing
        self.gate = self.gate.after(outcome, begun_at=begun_at, now=now, chance=chance)
        if self.gate.state is not before:
            self._tell(before)
        self._show()

    def _tell(self, before: FlowState) -> None:
        sink, gate = self._sink, self.gate
        if before is FlowState.BLOCKED:
            _log.info("sink.unblocked", sink=sink)
        if before is FlowState.OPEN:
            _log.info("sink.circuit_closed", sink=sink)
        match gate.state:
            case FlowState.BLOCKED:
                _log.error("sink.blocked", sink=sink, reason=gate.reason)
            case FlowState.OPEN:
                _log.warning("sink.circuit_open", sink=sink, reason=gate.reason)
            case FlowState.PAUSED:
                _log.warning("sink.paused", sink=sink, reason=gate.reason, until=rfc3339(gate.asked_until))
            case FlowState.CLOSED:
                pass

    def _show(self) -> None:
        self._metrics.sink_blocked.labels(self._sink).set(float(self.blocked is not None))
        self._metrics.sink_paused.labels(self._sink).set(float(self.resting is not None))
