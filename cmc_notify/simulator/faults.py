"""Faults between the controller and its callers: on demand, in outages, or in seeded bursts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal["timeout", "500", "503", "401", "cut", "refuse", "garbage", "slow"]
"""``timeout``: never a response. ``cut``: the connection ends in mid-body. ``refuse``: it ends at once
(aiohttp's client repeats such a GET once by itself: plan two). ``garbage``: 200 with a body that is not
JSON. ``slow``: the whole body, in pieces over ``slow_for`` seconds.
"""

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)


@dataclass(slots=True)
class _Planned:
    kind: FaultKind
    count: int
    path: str


@dataclass(slots=True)
class Outage:
    """One outage. Times are virtual Unix seconds; ``hits`` counts the requests that met it."""

    kind: FaultKind
    began: float
    ended: float | None = None
    hits: int = 0


class Faults:
    """Decides for each request whether it meets a fault."""

    def __init__(self) -> None:
        self.outages: list[Outage] = []
        self.slow_for = 0.5
        """Real seconds that a slow body takes."""
        self._planned: list[_Planned] = []

    def fail_next(self, kind: FaultKind, count: int = 1, *, path: str = "") -> None:
        """Let the next ``count`` requests whose path and query contain ``path`` meet this fault."""
        self._planned.append(_Planned(_checked(kind), count, path))

    def begin(self, kind: FaultKind, now: float) -> Outage:
        """Let every request meet this fault from now on; of several outages the newest counts."""
        outage = Outage(_checked(kind), now)
        self.outages.append(outage)
        return outage

    @contextmanager
    def outage(self, kind: FaultKind, now: Callable[[], float]) -> Iterator[Outage]:
        """Start an outage that lasts while the block runs; ``now`` returns virtual Unix seconds."""
        outage = self.begin(kind, now())
        try:
            yield outage
        finally:
            outage.ended = now()

    def next_fault(self, target: str) -> FaultKind | None:
        """Return the fault that a request for this path and query meets now, or None."""
        for planned in self._planned:
            if planned.count and planned.path in target:
                planned.count -= 1
                return planned.kind
        for outage in reversed(self.outages):
            if outage.ended is None:
                outage.hits += 1
                return outage.kind
        return None


def _checked(kind: FaultKind) -> FaultKind:
    if kind not in FAULT_KINDS:
        raise ValueError(f"there is no fault {kind!r}; write one of {', '.join(FAULT_KINDS)}")
    return kind
