"""What polls have written, read with plain SQL past the store's own code.

Events come in the order of telling; incidents and last-seen states as documents.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

_TOLD = """
    SELECT d.seq, d.id, d.sink, d.shown, d.ordering_key, d.event_id, e.type, e.job_uid, e.revision, e.document
    FROM deliveries d JOIN events e ON e.id = d.event_id
    WHERE e.controller = '{name}' AND d.seq > {after} ORDER BY d.seq
"""
_WAITS = """
    SELECT w.delivery_id, w.waits_for FROM delivery_waits w JOIN deliveries d ON d.id = w.delivery_id
    WHERE d.controller = '{name}' AND d.seq > {after}
"""
_COUNTS = """
    SELECT (SELECT max(version) FROM controllers WHERE name = '{name}'),
           (SELECT count(*) FROM events WHERE controller = '{name}'),
           (SELECT max(seq) FROM deliveries),
           (SELECT count(*) FROM failures WHERE controller = '{name}'),
           (SELECT count(closed_at) FROM failures WHERE controller = '{name}'),
           (SELECT count(*) FROM jobs WHERE controller = '{name}')
"""


class Sql(Protocol):
    """A plain connection to the database, beside the store's own."""

    async def fetch(self, query: str) -> Sequence[Any]:
        """Every row."""
        ...

    async def execute(self, query: str) -> Any:
        """Run a statement, for good."""
        ...

    async def close(self) -> None:
        """Not needed any more."""
        ...


class Sqlite:
    """Sql on a SQLite file."""

    def __init__(self, path: object) -> None:
        self._connection = sqlite3.connect(str(path), isolation_level=None, timeout=15)

    async def fetch(self, query: str) -> Sequence[Any]:
        """Every row."""
        return self._connection.execute(query).fetchall()

    async def execute(self, query: str) -> None:
        """Run a statement, for good."""
        self._connection.execute(query)

    async def close(self) -> None:
        """Not needed any more."""
        self._connection.close()


@dataclass
class Sent:
    """One row of the outbox. ``sink`` is empty where no route leads anywhere."""

    id: str
    sink: str
    shown: list[int] | None
    ordering_key: str
    waits: set[str] = field(default_factory=set)


@dataclass
class Notified:
    """One event with its rows of the outbox."""

    id: str
    type: str
    uid: str | None
    revision: int | None
    document: dict[str, Any]
    deliveries: list[Sent] = field(default_factory=list)


class Written:
    """Reads one controller's part of a store, each event once."""

    def __init__(self, sql: Sql, name: str) -> None:
        self._sql = sql
        self._name = name
        self._seq = 0

    async def _rows(self, query: str) -> Sequence[Any]:
        return await self._sql.fetch(query.format(name=self._name, after=self._seq))

    async def begin(self) -> None:
        """Count from here: other controllers have used the store before."""
        [(newest,)] = await self._rows("SELECT coalesce(max(seq), 0) FROM deliveries")
        self._seq = newest

    async def news(self) -> list[Notified]:
        """The events written since last asked, in the order in which they leave."""
        events: dict[str, Notified] = {}
        sent: dict[str, Sent] = {}
        seq = self._seq
        for row in await self._rows(_TOLD):
            seq, name, sink, shown, key, event, kind, uid, revision, document = row
            sent[name] = Sent(name, sink, json.loads(shown) if shown else None, key)
            if event not in events:
                events[event] = Notified(event, kind, uid, revision, json.loads(document))
            events[event].deliveries.append(sent[name])
        if any(event.document["recoveries"] for event in events.values()):
            for name, waits_for in await self._rows(_WAITS):
                sent[name].waits.add(waits_for)
        self._seq = seq
        return list(events.values())

    async def counts(self) -> tuple[Any, ...]:
        """What grows or changes with any commit."""
        [row] = await self._rows(_COUNTS)
        return tuple(row)

    async def incidents(self) -> dict[str, dict[str, Any]]:
        """Every incident's document by id, closed ones too."""
        rows = await self._rows("SELECT id, document FROM failures WHERE controller = '{name}' ORDER BY id")
        return {name: json.loads(document) for name, document in rows}

    async def states(self) -> dict[str, dict[str, Any]]:
        """Every job's last-seen state by uid."""
        rows = await self._rows("SELECT uid, state FROM job_states WHERE controller = '{name}'")
        return {uid: json.loads(state) for uid, state in rows}

    async def deliver(self, now: float) -> None:
        """Every message has arrived."""
        await self._sql.execute(
            f"UPDATE deliveries SET state = 'sent', finished_at = {now} WHERE state = 'pending'"
        )
