"""Ticketing services on loopback: each takes what its vendor documents, refuses what that forbids, and keeps
the tickets with their history. Written apart from the presets that they are there to judge.
"""

from cmc_notify.simulator.tickets.alertmanager import AlertmanagerDesk
from cmc_notify.simulator.tickets.desk import Desk, DeskTicket, Refusal, Trouble
from cmc_notify.simulator.tickets.jira import JiraDesk
from cmc_notify.simulator.tickets.opsgenie import OpsgenieDesk
from cmc_notify.simulator.tickets.pagerduty import PagerDutyDesk
from cmc_notify.simulator.tickets.servicenow import ServiceNowDesk

__all__ = [
    "AlertmanagerDesk",
    "Desk",
    "DeskTicket",
    "JiraDesk",
    "OpsgenieDesk",
    "PagerDutyDesk",
    "Refusal",
    "ServiceNowDesk",
    "Trouble",
]
