"""Leaders: at most one owner of a name at a time; an earlier owner is recognized by its fence.

On PostgreSQL the server's clock decides, so that replicas whose clocks differ agree. A SQLite store has one
bridge, and at its start nobody leads: an earlier leader is dead, because this process holds the file.
"""

from collections.abc import Collection, Mapping

import msgspec
from sqlalchemy import ColumnElement, and_, case, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.errors import LeadershipLost
from cmc_notify.ports import Fence, Replicas
from cmc_notify.store.engine import Database
from cmc_notify.store.rows import dump
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.tables import leaders, replicas

KNOWN_FOR = 600.0
"""Seconds for which the names of a replica are kept after it is gone: it may just be restarting."""
_TOO_FAR = 2
"""An end more than so many times the ``ttl`` ahead means that the clock was set back: it counts as past."""
_NAMES = msgspec.json.Decoder(frozenset[str])


class Leaders:
    """Implements ports.Leadership."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def acquire(self, name: str, *, owner: str, ttl: float) -> Fence | None:
        """Lead ``name`` for ``ttl`` seconds; None while another owner leads."""
        async with self._database.write() as connection:
            now = await self._database.lease_clock(connection)
            new = self._database.insert(leaders).values(
                name=name, owner=owner, token=1, leads_until=now + ttl
            )
            # One statement: of several that find the name free, the database lets one through.
            ours = leaders.c.owner == owner
            taken = new.on_conflict_do_update(
                index_elements=[leaders.c.name],
                set_={
                    "owner": owner,
                    "token": leaders.c.token + case((ours, 0), else_=1),
                    "leads_until": now + ttl,
                },
                where=or_(ours, leaders.c.owner.is_(None), ~_lasts(leaders.c.leads_until, now, ttl)),
            ).returning(leaders.c.token)
            token: int | None = await connection.scalar(taken)
        if token is None:
            return None
        reached(Boundary.LEADERSHIP_TAKEN)
        return Fence(name, token, owner)

    @runs_to_completion
    async def renew(self, fence: Fence, *, ttl: float) -> bool:
        """Lead for ``ttl`` seconds from now on; False if another took over, or this owner released it."""
        async with self._database.write() as connection:
            now = await self._database.lease_clock(connection)
            held = update(leaders).where(_held(fence)).values(leads_until=now + ttl)
            return (await connection.execute(held)).rowcount == 1

    @runs_to_completion
    async def release(self, fence: Fence) -> None:
        """Let another lead at once; does nothing if another leads already."""
        async with self._database.write() as connection:
            await connection.execute(update(leaders).where(_held(fence)).values(owner=None))
        reached(Boundary.LEADERSHIP_RELEASED)

    @runs_to_completion
    async def register(self, owner: str, names: Collection[str], *, ttl: float) -> Replicas:
        """Register a replica for ``ttl`` seconds; returns all that are registered, and who leads what."""
        async with self._database.write() as connection:
            now = await self._database.lease_clock(connection)
            row = {"owner": owner, "names": dump(sorted(names)), "attends_until": now + ttl}
            await connection.execute(self._database.upsert(replicas).values(row))
            # A row that another replica is deleting, or renewing at the last moment, is left to it.
            ends = replicas.c.attends_until
            lapsed = select(replicas.c.owner).where(
                or_(ends <= now - KNOWN_FOR, ends > now + _TOO_FAR * ttl), replicas.c.owner != owner
            )
            await connection.execute(
                delete(replicas).where(replicas.c.owner.in_(lapsed.with_for_update(skip_locked=True)))
            )
            there = await connection.execute(
                select(replicas.c.owner, replicas.c.names).where(
                    or_(_lasts(ends, now, ttl), replicas.c.owner == owner)
                )
            )
            candidates = {name: _NAMES.decode(wanted) for name, wanted in there}
            return Replicas(candidates=candidates, leaders=await _leaders(connection, now, ttl))

    @runs_to_completion
    async def unregister(self, owner: str) -> None:
        """End the registration at once."""
        async with self._database.write() as connection:
            now = await self._database.lease_clock(connection)
            left = update(replicas).where(replicas.c.owner == owner)
            await connection.execute(left.values(attends_until=now))

    @runs_to_completion
    async def leaders(self) -> Mapping[str, str]:
        """Return the owner of each name that is led now."""
        async with self._database.read() as connection:
            return await _leaders(connection, await self._database.lease_clock(connection))


async def _leaders(connection: AsyncConnection, now: float, ttl: float | None = None) -> dict[str, str]:
    rows = await connection.execute(
        select(leaders.c.name, leaders.c.owner).where(
            leaders.c.owner.is_not(None), _lasts(leaders.c.leads_until, now, ttl)
        )
    )
    return dict(rows.all())


def _lasts(until: ColumnElement[float], now: float, ttl: float | None) -> ColumnElement[bool]:
    lasts = until > now
    return lasts if ttl is None else and_(lasts, until <= now + _TOO_FAR * ttl)


def _held(fence: Fence) -> ColumnElement[bool]:
    return and_(leaders.c.name == fence.name, leaders.c.token == fence.token, leaders.c.owner == fence.owner)


async def served_recently(connection: AsyncConnection, name: str, now: float) -> bool:
    """Return True if a replica that is there, or was until ``KNOWN_FOR`` ago, registered with the name."""
    there = select(replicas.c.names).where(replicas.c.attends_until > now - KNOWN_FOR)
    return any(name in _NAMES.decode(names) for names in await connection.scalars(there))


async def require_leadership(connection: AsyncConnection, fence: Fence) -> None:
    """Raise LeadershipLost if the fence is no longer the newest, even if no other work was done since."""
    if await connection.scalar(select(leaders.c.token).where(_held(fence))) is None:
        raise LeadershipLost(f"{fence.name}: another replica leads now; this poll is left to it")


async def clear_leaders(connection: AsyncConnection) -> None:
    """Remove all leaders; only for a process that holds the store alone."""
    await connection.execute(update(leaders).values(owner=None))
