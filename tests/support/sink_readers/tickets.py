"""Readers of tickets."""

from contextlib import AsyncExitStack
from typing import ClassVar

from cmc_notify.ports import (
    Sink,
)
from support.sink_readers.chat import Preset
from support.ticket_services import PLACES


class Ticket(Preset):
    """A ticket's texts at the service that it was opened at."""

    preset: ClassVar[str]
    spaced = True

    async def place(self, stack: AsyncExitStack) -> Sink:
        """The vendor's service."""
        made = PLACES[self.preset]()
        self.desk = await stack.enter_async_context(made.desk)
        return made.sink(timeout=60)

    def seen(self) -> str:
        """All that stands at all tickets."""
        assert self.desk.refusals == []
        texts = [text for ticket in self.desk.tickets for _, text in ticket.history]
        self.desk.tickets.clear()
        return "\n".join(texts)
