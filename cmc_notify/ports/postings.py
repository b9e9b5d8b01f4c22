"""Postings at a receiver: a message that is updated in place, or a ticket."""

from msgspec import Struct


class Posting(Struct, frozen=True, kw_only=True):
    """The thing that a sink has made at its receiver for one subject; stored for every replica."""

    reference: str
    """The receiver's identifier, by which the sink finds it again: Slack's ``channel:ts``, a ticket's id."""
    label: str | None = None
    """The name that people use: ``INC0012345``. Only postings with a label are shown, as tickets."""
    url: str | None = None
    open: bool = True
    """A closed ticket is kept: the next failure opens another one, or the same one again."""
    notes: dict[str, str] = {}
    """Anything else that the sink needs the next time."""


class Ticket(Struct, frozen=True):
    """A ticket as other messages and pages show it."""

    sink: str
    subject: str
    label: str
    url: str | None
    open: bool


class Silenced(Struct, frozen=True):
    """A silence of exactly this job, until a time (Unix seconds) or the job's end."""

    by: str
    until: float
    with_job: bool


class Acknowledgement(Struct, frozen=True):
    """A person has said that they take care of it; ``at`` in Unix seconds."""

    by: str
    at: float
