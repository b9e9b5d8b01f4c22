"""Tickets, acknowledgements and silences in a line of a list, for people."""

from collections.abc import Iterable

from cmc_notify.cli.output import brief
from cmc_notify.ports import Ticket
from cmc_notify.web.job_context import JobContext


def context_text(context: JobContext) -> str | None:
    """``silenced, ticket INC0012345, acknowledged by Zoë``; None where there is nothing."""
    parts = ["silenced"] if context.silenced_by else []
    if context.tickets:
        parts.append(f"ticket {ticket_names(context.tickets)}")
    if context.acknowledged:
        parts.append(f"acknowledged by {brief(context.acknowledged.by)}")
    return ", ".join(parts) or None


def ticket_names(tickets: Iterable[Ticket]) -> str:
    """What people call them, at which sink; of a closed one that it is."""
    return ", ".join(
        f"{brief(each.label)} ({each.sink}{'' if each.open else ', closed'})" for each in tickets
    )
