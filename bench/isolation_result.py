"""The candidates of bench/isolation.py, and the result of one run."""

import os
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

TARGET = 1.2
QUIET = {"SQLite": 0.15, "PostgreSQL": 0.5}
"""The part of the machine that others may take where a verdict is to mean anything; the server is one."""
GOOD = ("good1", "good2", "good3")
DEAD, THROTTLED = "dead", "throttled"
ORDER = ("good1", DEAD, "good2", THROTTLED, "good3")
KEPT = 10.0
"""Seconds until the controller forgets a job: its list stays short, and no poll comes that late."""
LATE = 20.0
"""Seconds that the last deliveries get."""


class Run(msgspec.Struct, frozen=True):
    """One candidate: which sinks it has, and how the two that are not good behave."""

    name: str
    more: bool = False
    failing: bool = False
    backlog: bool = False
    naive: bool = False


RUNS = (
    Run("alone"),
    Run("healthy", more=True),
    Run("failing", more=True, failing=True),
    Run("backlog", more=True, failing=True, backlog=True),
    Run("naive", more=True, failing=True, naive=True),
)


class Result(msgspec.Struct):
    """What one run came to. Delays and ``cpu`` (the bridge's) are seconds; ``foreign`` is the part of the
    machine that other programs took (a PostgreSQL server is one); ``requests`` are those to the two sinks
    that are not good.
    """

    delays: list[float]
    missing: int
    cpu: float
    foreign: float
    requests: dict[str, int]

    def percentile(self, part: float) -> float:
        """The delay in milliseconds that ``part`` of the deliveries did not exceed."""
        return percentile(self.delays, part)


def percentile(delays: Sequence[float], part: float) -> float:
    """The milliseconds that ``part`` of the delays did not exceed."""
    ordered = sorted(delays)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] * 1000


class Processor:
    """Who used the machine since this was made."""

    def __init__(self) -> None:
        self._before = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float, float]:
        """Seconds: of the bridge (our children that have ended), of us, of all programs, and of the clock."""
        child, own = (resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
        busy = 0.0
        with suppress(OSError):  # a machine without /proc shows nothing of the others
            fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
            busy = sum(int(fields[place]) for place in (1, 2, 3, 6, 7)) / os.sysconf("SC_CLK_TCK")
        return child.ru_utime + child.ru_stime, own.ru_utime + own.ru_stime, busy, time.monotonic()

    def used(self) -> tuple[float, float]:
        """The bridge's seconds, and the part of the machine that others took."""
        pairs = zip(self._read(), self._before, strict=True)
        bridge, own, busy, wall = (now - before for now, before in pairs)
        return bridge, max(0.0, busy - bridge - own) / (wall * (os.cpu_count() or 1))


def say(line: str) -> None:
    """One line to whoever started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def seen_at(identity: str) -> float:
    """The Unix time in an event's id: when the poll had the controller's answer."""
    return int(identity[:12], 16) / 1000
