"""Rendering: from a message to a document."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from cmc_notify.core.delivery import Purpose
from cmc_notify.core.events import Event
from cmc_notify.ports.postings import Acknowledgement, Posting, Silenced, Ticket


class Rendered(Struct, frozen=True):
    """A rendered document. ``fallback`` has template, line and error if it is the plain message instead."""

    text: str
    fallback: str | None = None


class Message(Struct, frozen=True, kw_only=True):
    """The message that a sink has to send: one event as one route shows it to this sink."""

    key: str
    """Idempotency key, the same on every attempt."""
    event: Event
    """With only the failures or recoveries that the route lets through, and ``url`` signed."""
    subject: str = ""
    attempt: int = 1
    is_test: bool = False
    unclear: bool = False
    """An earlier attempt may have arrived: check before sending again, if the receiver allows it."""
    parts: Mapping[str, str] = {}
    """Parts accepted by earlier attempts, with their receipts: do not send them again."""
    purpose: Purpose = Purpose.NOTIFY
    posting: Posting | None = None
    """The posting at this sink for the subject, from earlier messages or earlier attempts of this one."""
    tickets: tuple[Ticket, ...] = ()
    """The tickets at other sinks for the same job, controller or sink."""
    acknowledged: Acknowledgement | None = None
    """The person who takes care of the job."""
    silenced: Silenced | None = None
    """The silence that hides the job: existing messages are still brought up to date."""


class SizeLimits(Struct, frozen=True):
    """The limits of a small document without an attachment; it shows the number of things left out."""

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
        """Render ``<sink_type>/<event type>.<extension>.j2``, else its default.

        A bad template does not raise: the plain message is rendered instead. With ``brief`` the document
        shows the largest groups of failures, the beginning of each error, and how many more there are: the
        sink attaches all of them. With ``size_limits`` it shows that much, and where to find the rest:
        nothing is attached.
        """
        ...
