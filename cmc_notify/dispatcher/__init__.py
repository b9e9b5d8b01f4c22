"""Send the due deliveries of the outbox to their sinks, and record each outcome."""

from cmc_notify.dispatcher.dispatcher import Dispatcher
from cmc_notify.dispatcher.sink_policy import SinkPolicy
from cmc_notify.dispatcher.sink_watch import SinkEventRules

__all__ = ["Dispatcher", "SinkEventRules", "SinkPolicy"]
