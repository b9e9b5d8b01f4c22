"""The moments at which a crash could lose or repeat something, by name.

In production :func:`reached` does nothing: only a test can install a hook, and no setting, argument or
variable can. Tests kill the process at each of these moments and check the result.
"""

from collections.abc import Callable
from enum import StrEnum


class Boundary(StrEnum):
    """In the order in which a change passes them on its way to a reader."""

    LEADERSHIP_TAKEN = "leadership.taken"
    """Other replicas see us as a controller's leader; no request is sent. Only if replicas share a store."""
    POLL_FETCHED = "poll.fetched"
    """The controller has responded, or a request failed; nothing is written."""
    POLL_WRITTEN = "poll.written"
    """Everything is written inside the transaction, which is still open."""
    POLL_COMMITTED = "poll.committed"
    """The transaction has ended; the process does not know it yet."""
    DELIVERY_CLAIMED = "delivery.claimed"
    """It is leased; nothing is sent."""
    DELIVERY_PART_ACCEPTED = "delivery.part_accepted"
    """A receiver accepted one part of several; that is not written."""
    DELIVERY_PART_RECORDED = "delivery.part_recorded"
    """It is written; the other parts are not sent."""
    DELIVERY_ATTEMPTED = "delivery.attempted"
    """The receiver has responded; the outcome is not written."""
    DELIVERY_WRITTEN = "delivery.written"
    """The result is written inside the transaction, which is still open."""
    DELIVERY_RECORDED = "delivery.recorded"
    """The transaction has ended; the process does not know it yet."""
    SINK_EVENT_WRITTEN = "sink_event.written"
    """An event about a sink is written inside the transaction, which is still open."""
    SINK_EVENT_COMMITTED = "sink_event.committed"
    """The transaction has ended; no worker has been woken to send it."""
    LEADERSHIP_RELEASED = "leadership.released"
    """Another replica may poll; our process has not ended. Only if replicas share a store."""


_hook: Callable[[Boundary], None] | None = None


def install(hook: Callable[[Boundary], None] | None) -> None:
    """Call ``hook`` at each boundary from now on, None for nothing. For tests only."""
    global _hook  # noqa: PLW0603  one process, one hook; a parameter through every layer would add nothing
    _hook = hook


def reached(boundary: Boundary) -> None:
    """Call the test's hook, if there is one."""
    if _hook is not None:
        _hook(boundary)
