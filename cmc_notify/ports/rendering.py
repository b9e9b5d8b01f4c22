"""How a message becomes a document."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import Event
from cmc_notify.ports.postings import Acknowledgement, Posting, Silenced, Ticket


class Rendered(Struct, frozen=True):
    """A rendered document. ``fallback`` names template, line and error where the plain message stands in."""

    text: str
    fallback: str | None = None


class Message(Struct, frozen=True, kw_only=True):
    """What a sink is asked to send: one event as one route shows it to one place."""

    key: str
    """Idempotency key, the same on every attempt."""
    event: Event
    """With only the failures or recoveries that the route lets through, and ``url`` signed."""
    subject: str = ""
    attempt: int = 1
    is_test: bool = False
    unclear: bool = False
    """An earlier attempt may have arrived: look before sending again, where that is possible."""
    parts: Mapping[str, str] = {}
    """Parts accepted by earlier attempts, with their receipts: do not send them again."""
    purpose: Purpose = Purpose.NOTIFY
    posting: Posting | None = None
    """What stands at this sink for the subject, by earlier messages or earlier attempts at this one."""
    tickets: tuple[Ticket, ...] = ()
    """What was opened elsewhere for the same job, controller or sink."""
    acknowledged: Acknowledgement | None = None
    """Who has taken the job upon them."""
    silenced: Silenced | None = None
    """Who keeps its news from people: what stands already is brought up to date all the same."""


class SizeLimits(Struct, frozen=True):
    """What of an event a small document shows that has nothing attached; it counts what it leaves out."""

    groups: int
    """Groups of failures or recoveries, the largest first."""
    names: int
    """Names in a listing."""
    text: int
    """Characters of a failure's text."""
    error: int
    """Characters of a pre-push error or a reason."""


class Renderer(Protocol):
    """Turns a message into one document of a medium."""

    def render(
        self,
        sink_type: str,
        extension: str,
        message: Message,
        *,
        brief: bool = False,
        size_limits: SizeLimits | None = None,
    ) -> Rendered:
        """Render ``<sink_type>/<event type>.<extension>.j2``, else its default. Never raises for a bad
        template: the plain message takes its place. With ``brief`` only the largest groups of failures
        are shown, each error's beginning, and how many more there are: the sink attaches the whole. With
        ``size_limits`` as much as that is shown, and where to find the rest: nothing is attached.
        """
        ...
