"""The moments at which a crash could lose or repeat something, by name.

Production only passes through: :func:`reached` does nothing unless a test has installed a hook, which no
setting, argument or variable can do. Tests kill the process at each of them, and look at what follows.
"""

from collections.abc import Callable
from enum import StrEnum


class Boundary(StrEnum):
    """In the order in which a change passes them on its way to a reader."""

    LEADERSHIP_TAKEN = "lead.taken"
    """Others see us lead a controller; nothing is asked. Only where replicas share a store."""
    POLL_FETCHED = "poll.asked"
    """The controller has answered, or failed to; nothing is written."""
    POLL_WRITTEN = "poll.written"
    """Everything is written inside the transaction, which is still open."""
    POLL_COMMITTED = "poll.committed"
    """The transaction has ended; the process does not know it yet."""
    DELIVERY_CLAIMED = "delivery.claimed"
    """Leased; nothing is sent."""
    DELIVERY_PART_ACCEPTED = "delivery.part_accepted"
    """A receiver took one part of several; that is not written."""
    DELIVERY_PART_RECORDED = "delivery.part_recorded"
    """It is written; the other parts are not sent."""
    DELIVERY_ATTEMPTED = "delivery.answered"
    """The receiver has answered; what it said is not written."""
    DELIVERY_WRITTEN = "delivery.written"
    """The verdict is written inside the transaction, which is still open."""
    DELIVERY_RECORDED = "delivery.recorded"
    """The transaction has ended; the process does not know it yet."""
    SINK_EVENT_WRITTEN = "news.written"
    """What is told of a sink is written inside the transaction, which is still open."""
    SINK_EVENT_COMMITTED = "news.committed"
    """The transaction has ended; nobody has been woken to send it."""
    LEADERSHIP_RELEASED = "lead.given_up"
    """Another may poll; we have not ended. Only where replicas share a store."""


_hook: Callable[[Boundary], None] | None = None


def install(hook: Callable[[Boundary], None] | None) -> None:
    """For tests: call ``hook`` at each boundary, or nothing any more."""
    global _hook  # noqa: PLW0603  one process, one hook; a parameter through every layer would be for show
    _hook = hook


def reached(boundary: Boundary) -> None:
    """Tell the test's hook, if there is one."""
    if _hook is not None:
        _hook(boundary)
