"""What a soak saw, as plain data: the judge reads this and nothing else.

Times are seconds of one monotonic clock, that of the process in which receivers and controllers live. A
"life" is one process of a replica, from its start to its end: ``r2.3`` is the third life of replica ``r2``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Reply = Literal["200", "429", "500", "reset", "hang", "gone"]
"""What a receiver did once it had the whole body. ``hang``: the caller gave up first. ``gone``: the caller
was gone before an answer that was meant to come.
"""

TAKEN: frozenset[Reply] = frozenset({"200", "gone"})
"""The receiver has taken the message."""
REFUSED: frozenset[Reply] = frozenset({"429", "500"})


@dataclass(slots=True)
class Arrival:
    """One request at a receiver. ``began``: its body was there; ``ended``: it was answered or cut."""

    sink: str
    key: str
    """The ``webhook-id``."""
    life: str
    began: float
    document: Mapping[str, Any]
    reply: Reply | None = None
    """None while it is open."""
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """A SIGKILL. ``leased``: the keys that the dead process held; None where nobody could be asked."""

    at: float
    life: str
    leased: frozenset[str] | None
    led: frozenset[str] = frozenset()
    """The controllers that it polled."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP to SIGCONT. ``leased`` as for a kill."""

    began: float
    ended: float
    life: str
    leased: frozenset[str] | None
    led: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stop:
    """The database was stopped from ``began`` until it served again."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Look:
    """One poll as a replica's log tells it; ``good`` says that it was committed."""

    at: float
    life: str
    controller: str
    good: bool


@dataclass(frozen=True, slots=True)
class Silence:
    """A replica's log says that a request was written and no answer came."""

    at: float
    life: str
    key: str


@dataclass(frozen=True, slots=True)
class End:
    """A life that ended by itself, or did not end as it was asked to. ``last`` are its last log lines."""

    at: float
    life: str
    code: int
    last: str


@dataclass(frozen=True, slots=True)
class Notified:
    """One event of the store's ledger. ``about`` is the sink that it speaks of, if any."""

    id: str
    type: str
    controller: str | None
    job: int | None
    revision: int | None
    about: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One delivery of the store's ledger."""

    key: str
    event: str
    sink: str
    state: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job, as the controller shows it at its end."""

    controller: str
    job: int
    status: str
    error_text: str | None
    failed: Mapping[tuple[str, int], str]
    """The error text by (serial, feature id)."""
    succeeded: frozenset[tuple[str, int]]


@dataclass
class Record:
    """Everything. ``drained``: nothing was left to tell when the replicas were stopped."""

    sinks: Sequence[str]
    replicas: int = 1
    arrivals: list[Arrival] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    freezes: list[Freeze] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    told: Sequence[Notified] = ()
    rows: Sequence[Row] = ()
    runs: Sequence[Run] = ()
    bugs: list[str] = field(default_factory=list)
    """What a replica logged as a fault of its own."""
    drained: bool = True
    slowness: list[tuple[float, float]] = field(default_factory=list)
    """At this time the machine took so many seconds for one of work: more than 1 where others work, too."""
    seconds: float = 0.0
