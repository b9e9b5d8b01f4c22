"""Ticketing services on loopback: each takes what its vendor documents, refuses what that forbids, and keeps
the tickets with their history. Written apart from the presets that they are there to judge.
"""

from cmc_notify.simulator.tickets.desk import Desk, DeskTicket, Refusal, Trouble
from cmc_notify.simulator.tickets.pagerduty import PagerDutyDesk

__all__ = [
    "Desk",
    "DeskTicket",
    "PagerDutyDesk",
    "Refusal",
    "Trouble",
]
