"""Delivering: what is due in the outbox goes to its sink, and what came of it is written down."""

from cmc_notify.dispatcher.dispatcher import Dispatcher
from cmc_notify.dispatcher.health import HealthTelling
from cmc_notify.dispatcher.plan import SinkPlan

__all__ = ["Dispatcher", "HealthTelling", "SinkPlan"]
