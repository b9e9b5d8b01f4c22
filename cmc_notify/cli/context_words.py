"""Tickets, acknowledgements and silences in a line of a list, for people."""

from collections.abc import Iterable

from cmc_notify.cli.output import brief
from cmc_notify.ports import Ticket
from cmc_notify.web.job_context import JobContext


def in_words(marks: JobContext) -> str | None:
    """``silenced, ticket INC0012345, acknowledged by Zoë``; None where there is nothing."""
    said = ["silenced"] if marks.silenced_by else []
    if marks.tickets:
        said.append(f"ticket {named(marks.tickets)}")
    if marks.acknowledged:
        said.append(f"acknowledged by {brief(marks.acknowledged.by)}")
    return ", ".join(said) or None


def named(tickets: Iterable[Ticket]) -> str:
    """What people call them, at which sink; of a closed one that it is."""
    return ", ".join(
        f"{brief(each.label)} ({each.sink}{'' if each.open else ', closed'})" for each in tickets
    )
