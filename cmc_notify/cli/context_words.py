"""Text for people about tickets, acknowledgements and silences, in a line of a list."""

from collections.abc import Iterable

from cmc_notify.cli.output import brief
from cmc_notify.ports import Ticket
from cmc_notify.web.job_context import JobContext


def context_text(context: JobContext) -> str | None:
    """Return for example ``silenced, ticket INC0012345, acknowledged by Zoë``; None if there is nothing."""
    parts = ["silenced"] if context.silenced_by else []
    if context.tickets:
        parts.append(f"ticket {ticket_names(context.tickets)}")
    if context.acknowledged:
        parts.append(f"acknowledged by {brief(context.acknowledged.by)}")
    return ", ".join(parts) or None


def ticket_names(tickets: Iterable[Ticket]) -> str:
    """Return the names of tickets, each with its sink, and ``closed`` for a closed one."""
    return ", ".join(
        f"{brief(each.label)} ({each.sink}{'' if each.open else ', closed'})" for each in tickets
    )
