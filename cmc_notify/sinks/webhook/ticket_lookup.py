"""Tickets at a service without a key of our own: look for the ticket before creating one.

Guarantee: the recorded ticket is read first, then the one that has the key. The effect of the same message (a
create or an update whose response was lost) is recognised and not repeated. Each step is recorded as soon as
the receiver has accepted it, so a crash between two steps is harmless.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.sinks.webhook.preset import MessageContent
from cmc_notify.sinks.webhook.ticket import DONE, TicketSink
from cmc_notify.sinks.webhook.webhook_client import NOT_THE_SERVICE, WebhookClient

_SEARCHES = 2
"""Searches for a ticket that may exist, before it is created (again)."""
_LAG = 10.0
"""Seconds between searches, however long the waits between attempts are."""
_SEARCHED = "looked"
"""The part that counts the searches."""
_GONE = frozenset({404, 410})
_CONFLICT = 409
"""Somebody else is changing the ticket, which passes: Jira says to try again.
https://developer.atlassian.com/cloud/jira/platform/change-notice-update-in-simultaneous-transitions-issue-api/
"""


class ExistingTicket(Struct, frozen=True):
    """A ticket at the service, as it is now."""

    reference: str
    label: str
    url: str
    open: bool
    final: bool = False
    """Closed, and can't be reopened."""
    written_by: str | None = None
    """The key of the message that created or last changed it."""

    def posting(self, *, open_: bool) -> Posting:
        """Return the record of the ticket."""
        return Posting(reference=self.reference, label=self.label, url=self.url, open=open_)


class EndSend(Exception):
    """Ends a send in the middle of its requests."""

    def __init__(self, outcome: SendOutcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class LookupTicketSink(TicketSink):
    """The base of presets that look a ticket up. This class decides when to create, add, reopen and close."""

    search_lags: ClassVar[bool] = False
    """True if a search can miss a ticket that was created a moment ago."""

    @abstractmethod
    async def read_recorded(self, posting: Posting, client: WebhookClient) -> ExistingTicket | None:
        """Return the recorded ticket as it is now; None if it is gone."""

    @abstractmethod
    async def find_by_key(self, message: Message, client: WebhookClient) -> ExistingTicket | None:
        """Return the ticket with the key of the message's subject: an open one, else the newest."""

    @abstractmethod
    async def create(
        self, message: Message, content: MessageContent, client: WebhookClient
    ) -> ExistingTicket:
        """Create a ticket."""

    @abstractmethod
    async def add_note(
        self, ticket: ExistingTicket, message: Message, content: MessageContent, client: WebhookClient
    ) -> None:
        """Add the event to an open ticket."""

    @abstractmethod
    async def reopen(
        self, ticket: ExistingTicket, message: Message, content: MessageContent, client: WebhookClient
    ) -> bool:
        """Reopen a closed ticket. Returns False if it stays closed, so that another is created."""

    @abstractmethod
    async def close_open_ticket(
        self,
        ticket: ExistingTicket,
        message: Message,
        content: MessageContent,
        client: WebhookClient,
        record: PartRecorder,
    ) -> None:
        """Close an open ticket, with the recoveries as its last note."""

    async def deliver(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Act by the message's purpose, until an EndSend."""
        try:
            return await super().deliver(message, content, client, record)
        except EndSend as end:
            return end.outcome

    async def open_or_update(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Add to the open ticket, reopen a closed one, or create one."""
        ticket = await self._current_ticket(message, client)
        if ticket is not None and ticket.written_by != message.key:
            if ticket.open:
                await self.add_note(ticket, message, content, client)
            elif not await self.reopen(ticket, message, content, client):
                ticket = None
        if ticket is not None:
            return await _finish(ticket, record, open_=True)
        if self.search_lags and message.unclear:
            await _search_again(message, record)
        return await _finish(await self.create(message, content, client), record, open_=True)

    async def update_quietly(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Add to the ticket, unless somebody has closed it."""
        assert message.posting is not None
        ticket = await self.read_recorded(message.posting, client)
        if ticket is None:
            return Sent("the ticket is gone")
        if ticket.open and ticket.written_by != message.key:
            await self.add_note(ticket, message, content, client)
        return await _finish(ticket, record, open_=ticket.open)

    async def resolve(
        self, message: Message, content: MessageContent, client: WebhookClient, record: PartRecorder
    ) -> SendOutcome:
        """Close the ticket, unless somebody else has."""
        ticket = await self._current_ticket(message, client)
        if ticket is None:
            return Sent("there is no ticket to close")
        if ticket.open:
            await self.close_open_ticket(ticket, message, content, client, record)
        return await _finish(ticket, record, open_=False)

    async def _current_ticket(self, message: Message, client: WebhookClient) -> ExistingTicket | None:
        """Return the recorded ticket while it is open, else an open one that a lost response left."""
        ticket = await self.read_recorded(message.posting, client) if message.posting is not None else None
        if ticket is not None and ticket.open:
            return ticket
        other = await self.find_by_key(message, client)
        return other if other is not None and (other.open or ticket is None) else ticket


async def _search_again(message: Message, record: PartRecorder) -> None:
    """Raise EndSend until there were enough searches. The count starts again after each creation."""
    searched = int(message.parts.get(_SEARCHED, "0")) + 1
    await record(_SEARCHED, str(searched % _SEARCHES))
    if searched < _SEARCHES:
        raise EndSend(RetryLater("searched for a ticket of an earlier attempt; searching again", _LAG))


async def _finish(ticket: ExistingTicket, record: PartRecorder, *, open_: bool) -> SendOutcome:
    await record(DONE, ticket.label, posting=ticket.posting(open_=open_))
    return Sent(ticket.label)


async def read_json(client: WebhookClient, url: str) -> Any:
    """Return the JSON of a GET; None if there is nothing. Raises EndSend for anything else."""
    result = await client.request("GET", url, read=True)
    if result.status in _GONE:
        return None
    if not isinstance(result.outcome, Sent):
        raise EndSend(result.outcome)
    if result.document is None:
        raise EndSend(RetryLater(NOT_THE_SERVICE))
    return result.document


async def search_json(client: WebhookClient, url: str) -> Any:
    """Return the JSON of a search by key. A refusal is never about the message, so it blocks.

    Raises EndSend.
    """
    try:
        response = await read_json(client, url)
    except EndSend as end:
        if isinstance(end.outcome, Rejected):
            raise EndSend(Blocked(end.outcome.reason)) from end
        raise
    if response is None:
        raise EndSend(Blocked("HTTP 404 for a search; correct url, it must be the service's own address"))
    return response


def nested(document: Any, *names: str) -> Any:
    """Return the value in nested objects; None if the document has another shape."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def objects(found: Any) -> Iterable[dict[str, Any]]:
    """Return the objects of a list; nothing if it is not a list."""
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else ()


async def write_json(
    client: WebhookClient, method: str, url: str, body: bytes | Any, *, message_id: str
) -> Any:
    """Return the JSON of a change; None if there is none. Raises EndSend if it was not accepted."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    result = await client.request(method, url, data, message_id=message_id, read=True)
    if result.status == _CONFLICT and isinstance(result.outcome, Rejected):
        raise EndSend(RetryLater(result.outcome.reason))
    if not isinstance(result.outcome, Sent):
        raise EndSend(result.outcome)
    if result.is_html:
        raise EndSend(RetryLater(NOT_THE_SERVICE))
    return result.document


def unreadable_response(what: str) -> EndSend:
    """Return an EndSend for a success whose response can't be read."""
    return EndSend(Unclear(f"{what}, but the response can't be read"))
