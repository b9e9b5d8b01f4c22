"""Delivering: what is due in the outbox goes to its sink, and what came of it is written down."""

from cmc_notify.dispatcher.dispatcher import Dispatcher
from cmc_notify.dispatcher.sink_policy import SinkPolicy
from cmc_notify.dispatcher.sink_watch import SinkEventRules

__all__ = ["Dispatcher", "SinkEventRules", "SinkPolicy"]
