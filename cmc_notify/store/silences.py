"""Silences, a document each; the columns, which ``expire`` changes, say when a silence starts and ends."""

from collections.abc import Collection, Sequence

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, case, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.core.routing import any_glob
from cmc_notify.core.silences import Silence
from cmc_notify.store.engine import Database, in_chunks
from cmc_notify.store.rows import dump
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.tables import silences

_SILENCE = msgspec.json.Decoder(Silence)


class SilenceRecords:
    """Implements ports.Silences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def add(self, silence: Silence) -> None:
        """Store a silence."""
        async with self._database.write() as connection:
            await connection.execute(
                insert(silences).values(
                    id=silence.id,
                    starts_at=silence.starts_at,
                    ends_at=silence.ends_at,
                    document=dump(silence),
                )
            )

    @runs_to_completion
    async def expire(self, silence_id: str, *, now: float) -> bool:
        """End it at ``now``; False if there is no such silence, or it has ended already."""
        async with self._database.write() as connection:
            return await end_silences(connection, [silence_id], now=now) == 1

    @runs_to_completion
    async def list_silences(self, *, now: float, expired: bool = False) -> Sequence[Silence]:
        """Return active and future silences, the earliest to end first; with ``expired`` also ended ones."""
        async with self._database.read() as connection:
            return await _load(connection, *([] if expired else [silences.c.ends_at > now]))

    @runs_to_completion
    async def active(self, *, now: float, controller: str | None = None) -> Sequence[Silence]:
        """Return the silences that are active now and could match the controller."""
        async with self._database.read() as connection:
            return await load_active(connection, controller, now=now)


async def load_active(
    connection: AsyncConnection, controller: str | None, *, now: float
) -> Sequence[Silence]:
    """Return the silences that are active at ``now`` and could match the controller; None for any."""
    found = await _load(connection, silences.c.starts_at <= now, silences.c.ends_at > now)
    return [
        silence
        for silence in found
        if controller is None or not silence.controllers or any_glob(silence.controllers, controller)
    ]


async def end_silences(connection: AsyncConnection, ids: Collection[str], *, now: float) -> int:
    """End those that have not ended at ``now``; returns how many."""
    ended = 0
    for chunk in in_chunks(ids):
        result = await connection.execute(
            update(silences)
            .where(silences.c.id.in_(chunk), silences.c.ends_at > now)
            .values(
                ends_at=now, starts_at=case((silences.c.starts_at > now, now), else_=silences.c.starts_at)
            )
        )
        ended += result.rowcount
    return ended


async def _load(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> list[Silence]:
    rows = await connection.execute(
        select(silences).where(*conditions).order_by(silences.c.ends_at, silences.c.id)
    )
    return [
        replace(_SILENCE.decode(row.document), starts_at=row.starts_at, ends_at=row.ends_at) for row in rows
    ]
