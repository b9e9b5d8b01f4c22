"""The demo: a simulated controller, a real ``cmc-notify run`` process watching it, and three receivers.

Everything is on loopback and in one temporary folder, which is removed at the end. Nothing is printed here:
``on_arrival`` is called with everything that arrives, and ``cli`` shows it.
"""

from cmc_notify.demo.checks import Check, Summary
from cmc_notify.demo.received import Arrival, Piece
from cmc_notify.demo.runner import SPEED, BridgeEnded, Demo

__all__ = ["SPEED", "Arrival", "BridgeEnded", "Check", "Demo", "Piece", "Summary"]
