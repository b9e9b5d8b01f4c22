"""Ticketing services on loopback: each accepts what its vendor documents, refuses all else, and keeps the
tickets with their history. They share no code with the presets, because they test them.
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
    "ServiceFault",
    "ServiceNowServer",
    "TicketServer",
]
