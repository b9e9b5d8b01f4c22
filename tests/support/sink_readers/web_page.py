"""A reader of an event's web page."""

import html
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC
from typing import cast

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cmc_notify.core.events import Event
from cmc_notify.core.outcome import Rejected, SendOutcome, Sent
from cmc_notify.ports import (
    Acknowledgement,
    DeliveryFilter,
    Ledger,
    LedgerRow,
    Message,
    PartRecorder,
    Sink,
    TicketFilter,
    TicketRow,
)
from cmc_notify.web.event_page import EventPage
from cmc_notify.web.page_templates import Templates
from support.sink_readers.chat import Preset


class _Pages:
    """A store that knows one event."""

    event_: Event

    async def event(self, _event_id: str) -> Event | None:
        """The one that was told last."""
        return self.event_

    async def deliveries(self, _wanted: DeliveryFilter) -> Sequence[LedgerRow]:
        """None."""
        return []

    async def tickets(self, _wanted: TicketFilter) -> Sequence[TicketRow]:
        """None."""
        return []

    async def acknowledgements(self, _subjects: Collection[str]) -> Mapping[str, Acknowledgement]:
        """None."""
        return {}


class _Reader:
    """Opens the page of what it is told, over HTTP."""

    name = "page"

    def __init__(self) -> None:
        self.ledger = _Pages()
        self.text = ""
        app = web.Application()
        app.router.add_get(
            "/events/{event_id}", EventPage(cast(Ledger, self.ledger), Templates(lambda: UTC)).show
        )
        self.client = TestClient(TestServer(app))

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Every page can be read."""
        del record
        self.ledger.event_ = message.event
        async with self.client.get(f"/events/{message.event.id}") as answer:
            self.text = html.unescape(await answer.text())
        return Sent() if answer.status == 200 else Rejected(str(answer.status))

    async def probe(self) -> SendOutcome:
        """Nothing to try."""
        return Sent()

    async def close(self) -> None:
        """The page needs no sink."""


class Page(Preset):
    """The page that messages link to, which is no sink but must hold whatever any of them leaves out."""

    complete = True

    async def place(self, stack: AsyncExitStack) -> Sink:
        """The bridge's own web application."""
        self.reader = _Reader()
        await stack.enter_async_context(self.reader.client)
        return self.reader

    def seen(self) -> str:
        """The page."""
        return self.reader.text
