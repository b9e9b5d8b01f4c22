"""The budget of the present rendering, and the user's files that recently exceeded theirs.

A file that used up a budget is not read again for some minutes, for events of that size: the next thousand
deliveries get the plain message at once instead of stalling the bridge each.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from cmc_notify.core.events import Event
from cmc_notify.errors import TemplateError
from cmc_notify.rendering.budget import Budget

SUSPENSION = 300.0
"""Seconds that a file which overspent is left alone."""
_SMALLER = 2
"""An event so many times smaller may come out well, and is tried."""


class FileSuspended(Exception):
    """A file is left alone for now; ``fault`` is what it did."""

    def __init__(self, fault: TemplateError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _Suspension(Struct, frozen=True):
    until: float
    size: int
    fault: TemplateError


class Spending(threading.local):
    """The rendering that goes on in this thread. ``suspended`` is shared by all threads of a renderer."""

    def __init__(self, suspended: "SuspendedFiles") -> None:
        self.budget: Budget | None = None
        """None until a user's template begins to run."""
        self._event: Event | None = None
        self._suspended = suspended

    @contextmanager
    def on(self, event: Event) -> Iterator[None]:
        """While this event is rendered."""
        self.budget, self._event = None, event
        try:
            yield
        finally:
            self.budget = self._event = None

    def now(self) -> Budget:
        """The budget of this rendering, which begins with the first question for it."""
        if self.budget is None:
            assert self._event is not None, "templates run while an event is rendered"
            self.budget = Budget(self._event)
        return self.budget

    def enter(self, file: str) -> Budget:
        """The budget, for a body of this file. Raises FileSuspended."""
        budget = self.budget or self.now()
        if self._suspended:
            self._suspended.ask(file, budget)
        return budget


class SuspendedFiles:
    """The files that overspent, for ``SUSPENSION`` seconds each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._files: dict[str, _Suspension] = {}
        self._clock = clock

    def __bool__(self) -> bool:
        return bool(self._files)

    def put(self, file: str, size: int, fault: TemplateError) -> None:
        """Leave this file alone, for events of ``size`` characters and up."""
        self._files[file] = _Suspension(self._clock() + SUSPENSION, size, fault)

    def ask(self, file: str, budget: Budget) -> None:
        """Raise FileSuspended where the file is to be left alone."""
        rest = self._files.get(file)
        if rest is None or budget.size * _SMALLER < rest.size:
            return
        if self._clock() < rest.until:
            raise FileSuspended(rest.fault)
        self._files.pop(file, None)
