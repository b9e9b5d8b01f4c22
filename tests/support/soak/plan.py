"""What a soak is asked to do. The same seed gives the same story, moods and chaos; only timing differs."""

import random
from dataclasses import dataclass
from typing import Literal

from support.soak.record import Reply


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Times in seconds. ``transitions``: end once as many were told, before the seconds are over."""

    seconds: float = 60.0
    replicas: int = 3
    store: Literal["sqlite", "postgresql"] = "postgresql"
    seed: int = 1
    transitions: int | None = None
    controllers: int = 4
    lanes: int = 6
    """Jobs at a time on each controller."""
    sinks: tuple[str, ...] = ("chat", "tickets")
    moods: tuple[tuple[Reply, float], ...] = (
        ("200", 0.90),
        ("429", 0.01),
        ("500", 0.05),
        ("reset", 0.02),
        ("hang", 0.02),
    )
    """How often a receiver does what."""
    slow: float = 0.15
    """How often a receiver takes its time to answer."""
    kill_every: float = 3.0
    stop_every: float | None = 20.0
    """How often the database is stopped; never on SQLite."""
    freeze_every: float | None = None
    """How often a replica is frozen, now for longer than its leases last, now for less."""
    sink_timeout: float = 1.0
    concurrency: int = 8
    """Sends at a time, of each replica to each sink."""
    poll: float = 0.3
    """Between two polls of a controller."""
    drain: float = 90.0
    """How long everything may take to be told once the chaos is over."""

    def chance(self, *of: object) -> random.Random:
        """A source of chance of its own for each part, so that no part changes another's."""
        return random.Random(f"{self.seed}/{'/'.join(map(str, of))}")
