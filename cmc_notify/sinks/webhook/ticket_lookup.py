"""Tickets at a service that knows no key of ours: it is asked what stands there before anything is made.

Guarantee: what was recorded is looked at first, then what can be found by the key; what this very message has
done already (a create or an update whose answer was lost) is recognised and not done again. Each step is
recorded as soon as the other side has taken it, so a crash between two is harmless.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.sinks.webhook.preset import Words
from cmc_notify.sinks.webhook.ticket import DONE, TicketSink
from cmc_notify.sinks.webhook.webhook_client import NO_SERVICE, Line

_LOOKS = 2
"""Looks for a ticket which may have been made, before it is made (again)."""
_LAG = 10.0
"""Seconds between them, however long the waits between attempts have become."""
_LOOKED = "looked"
"""The part that counts them."""
_GONE = frozenset({404, 410})
_CONFLICT = 409
"""Somebody else changes the ticket at this moment, which passes: Jira says to try again.
https://developer.atlassian.com/cloud/jira/platform/change-notice-update-in-simultaneous-transitions-issue-api/
"""


class Found(Struct, frozen=True):
    """A ticket as it stands at the service."""

    reference: str
    label: str
    url: str
    open: bool
    final: bool = False
    """Closed so that it can't be opened again."""
    written_by: str | None = None
    """The key of the message that made it, or last changed it."""

    def posting(self, *, open_: bool) -> Posting:
        """What is to be remembered of it."""
        return Posting(reference=self.reference, label=self.label, url=self.url, open=open_)


class Halt(Exception):
    """Ends a send in the middle of its requests."""

    def __init__(self, outcome: SendOutcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class LookupTicketSink(TicketSink):
    """A preset says how to find, make, add to, open again and close; in which case which is decided here."""

    lags: ClassVar[bool] = False
    """Whether a search may not yet know what was made a moment ago."""

    @abstractmethod
    async def look(self, posting: Posting, line: Line) -> Found | None:
        """The ticket that was recorded, as it is now; None where it is gone."""

    @abstractmethod
    async def find(self, message: Message, line: Line) -> Found | None:
        """The ticket of the message's subject, by its key: an open one, else the newest."""

    @abstractmethod
    async def create(self, message: Message, words: Words, line: Line) -> Found:
        """Make it."""

    @abstractmethod
    async def add(self, found: Found, message: Message, words: Words, line: Line) -> None:
        """Add the news to an open ticket."""

    @abstractmethod
    async def reopen(self, found: Found, message: Message, words: Words, line: Line) -> bool:
        """Open a closed ticket again; False where it stays closed, so that another is made."""

    @abstractmethod
    async def close_ticket(
        self, found: Found, message: Message, words: Words, line: Line, record: PartRecorder
    ) -> None:
        """Close an open ticket, with the recoveries as its last words."""

    async def deliver(self, message: Message, words: Words, line: Line, record: PartRecorder) -> SendOutcome:
        """As the message's purpose asks, until something ends it."""
        try:
            return await super().deliver(message, words, line, record)
        except Halt as halt:
            return halt.outcome

    async def tell(self, message: Message, words: Words, line: Line, record: PartRecorder) -> SendOutcome:
        """Add to the open ticket, open a closed one again, or make one."""
        found = await self._standing(message, line)
        if found is not None and found.written_by != message.key:
            if found.open:
                await self.add(found, message, words, line)
            elif not await self.reopen(found, message, words, line):
                found = None
        if found is not None:
            return await _done(found, record, open_=True)
        if self.lags and message.unclear:
            await _look_again(message, record)
        return await _done(await self.create(message, words, line), record, open_=True)

    async def follow(self, message: Message, words: Words, line: Line, record: PartRecorder) -> SendOutcome:
        """Add to the ticket, unless somebody has closed it."""
        assert message.posting is not None
        found = await self.look(message.posting, line)
        if found is None:
            return Sent("the ticket is gone")
        if found.open and found.written_by != message.key:
            await self.add(found, message, words, line)
        return await _done(found, record, open_=found.open)

    async def resolve(self, message: Message, words: Words, line: Line, record: PartRecorder) -> SendOutcome:
        """Close the ticket, unless somebody else has."""
        found = await self._standing(message, line)
        if found is None:
            return Sent("there is no ticket to close")
        if found.open:
            await self.close_ticket(found, message, words, line, record)
        return await _done(found, record, open_=False)

    async def _standing(self, message: Message, line: Line) -> Found | None:
        """What was recorded, while it is open; else there may be another by now, of a lost answer."""
        found = await self.look(message.posting, line) if message.posting is not None else None
        if found is not None and found.open:
            return found
        other = await self.find(message, line)
        return other if other is not None and (other.open or found is None) else found


async def _look_again(message: Message, record: PartRecorder) -> None:
    """Raises Halt until it was looked for often enough; the count begins anew for what is made then."""
    looked = int(message.parts.get(_LOOKED, "0")) + 1
    await record(_LOOKED, str(looked % _LOOKS))
    if looked < _LOOKS:
        raise Halt(RetryLater("looked for what an earlier attempt may have made; looking again", _LAG))


async def _done(found: Found, record: PartRecorder, *, open_: bool) -> SendOutcome:
    await record(DONE, found.label, posting=found.posting(open_=open_))
    return Sent(found.label)


async def read(line: Line, url: str) -> Any:
    """The JSON that is answered to a GET; None where there is nothing. Raises Halt for anything else."""
    reply = await line.ask("GET", url, read=True)
    if reply.status in _GONE:
        return None
    if not isinstance(reply.outcome, Sent):
        raise Halt(reply.outcome)
    if reply.document is None:
        raise Halt(RetryLater(NO_SERVICE))
    return reply.document


async def search(line: Line, url: str) -> Any:
    """As ``read``, but that nothing of the message is to blame for a refusal: what is asked for is our key
    at the place that the config names, which is gone, or not to be seen any more.
    """
    try:
        answer = await read(line, url)
    except Halt as halt:
        if isinstance(halt.outcome, Rejected):
            raise Halt(Blocked(halt.outcome.reason)) from halt
        raise
    if answer is None:
        raise Halt(Blocked("HTTP 404 for a search; correct url, it must be the service's own address"))
    return answer


def inner(document: Any, *names: str) -> Any:
    """What stands in objects within objects; None wherever an answer is made otherwise."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def objects(found: Any) -> Iterable[dict[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else ()


async def write(line: Line, method: str, url: str, body: bytes | Any, *, message_id: str) -> Any:
    """The JSON that is answered to a change, None for none. Raises Halt where it was not taken."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    reply = await line.ask(method, url, content, message_id=message_id, read=True)
    if reply.status == _CONFLICT and isinstance(reply.outcome, Rejected):
        raise Halt(RetryLater(reply.outcome.reason))
    if not isinstance(reply.outcome, Sent):
        raise Halt(reply.outcome)
    if reply.is_page:
        raise Halt(RetryLater(NO_SERVICE))
    return reply.document


def unreadable(what: str) -> Halt:
    """Ends a send whose effect is known, but not what it made."""
    return Halt(Unclear(f"{what}, but the answer can't be read"))
