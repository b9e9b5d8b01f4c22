"""What stands at a receiver: a message that is updated in place, a ticket that is open."""

from msgspec import Struct


class Posting(Struct, frozen=True, kw_only=True):
    """What a sink has made at its receiver for one subject. Kept in the store, for every replica."""

    reference: str
    """By which the sink finds it again: Slack's ``channel:ts``, a ticket's id."""
    label: str | None = None
    """What people call it: ``INC0012345``. Only what has one is shown to people, as a ticket."""
    url: str | None = None
    open: bool = True
    """A closed ticket stays known: what comes after it opens another, or the same again."""
    notes: dict[str, str] = {}
    """Whatever else the sink has to know the next time."""


class Ticket(Struct, frozen=True):
    """A ticket as other messages and pages show it."""

    sink: str
    subject: str
    label: str
    url: str | None
    open: bool


class Silenced(Struct, frozen=True):
    """Somebody keeps the news of this very job from people, until then (Unix seconds) or its end."""

    by: str
    until: float
    with_job: bool


class Acknowledgement(Struct, frozen=True):
    """Somebody has taken it upon them; ``at`` in Unix seconds."""

    by: str
    at: float
