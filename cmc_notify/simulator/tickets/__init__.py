"""Ticketing services on loopback: each takes what its vendor documents, refuses what that forbids, and keeps
the tickets with their history. Written apart from the presets that they are there to judge.
"""

from cmc_notify.simulator.tickets.alertmanager import AlertmanagerServer
from cmc_notify.simulator.tickets.jira import JiraServer
from cmc_notify.simulator.tickets.opsgenie import OpsgenieServer
from cmc_notify.simulator.tickets.pagerduty import PagerDutyServer
from cmc_notify.simulator.tickets.servicenow import ServiceNowServer
from cmc_notify.simulator.tickets.ticket_server import Refusal, ServedTicket, ServiceFault, TicketServer

__all__ = [
    "AlertmanagerServer",
    "JiraServer",
    "OpsgenieServer",
    "PagerDutyServer",
    "Refusal",
    "ServedTicket",
    "ServiceNowServer",
    "TicketServer",
    "ServiceFault",
]
