"""The store: one SQL database holds the snapshot, the events, the outbox and the ledger.

What a method has committed survives the process and, on SQLite, a power cut. Nothing is kept in memory.
Each method raises StoreUnavailable if the database does not work.
"""

import os
from dataclasses import dataclass, field

from sqlalchemy import true, update

from cmc_notify.ports import Clock
from cmc_notify.store import schema
from cmc_notify.store.chat_actions import ChatActionRecords
from cmc_notify.store.database_errors import translated
from cmc_notify.store.engine import Database
from cmc_notify.store.leadership import Leaders, clear_leaders
from cmc_notify.store.ledger import LedgerRecords
from cmc_notify.store.lock import FileLock, is_locked
from cmc_notify.store.outbox import DeliveryQueue
from cmc_notify.store.retention import Retention
from cmc_notify.store.sessions import SessionRecords
from cmc_notify.store.silences import SilenceRecords
from cmc_notify.store.sink_events import SinkEvents
from cmc_notify.store.snapshot import PollRecords
from cmc_notify.store.tables import deliveries, pending

__all__ = ["Store", "open_store"]


@dataclass(frozen=True)
class Store:
    """An open store; each attribute serves one need. ``close`` it when done."""

    poll: PollRecords
    outbox: DeliveryQueue
    sink_events: SinkEvents
    ledger: LedgerRecords
    housekeeping: Retention
    leadership: Leaders
    silences: SilenceRecords
    chat_actions: ChatActionRecords
    sessions: SessionRecords
    _database: Database = field(repr=False)
    _lock: FileLock | None = field(repr=False)

    @property
    def shared(self) -> bool:
        """Return True if several bridges may use it at the same time, so that one has to lead."""
        return self._database.path is None

    def bridge_runs(self) -> bool | None:
        """Return True if a bridge holds the store.

        None if that is unknown: on PostgreSQL, which several may use, and if the lock's file can't be read.
        """
        if self._database.path is None:
            return None
        try:
            return is_locked(self._database.path)
        except OSError:
            return None

    def use_credentials(self, url: str) -> bool:
        """Let new connections sign in with the user and password of ``url``, while open ones go on.

        Returns False and changes nothing if ``url`` names another store or another way to it: open the store
        again then.
        """
        return self._database.use_credentials(url)

    async def close(self) -> None:
        """Close every connection and release the store for another bridge."""
        try:
            await self._database.close()
        finally:
            if self._lock:
                self._lock.release()


async def open_store(url: str, *, clock: Clock, exclusive: bool) -> Store:
    """Open ``sqlite:///path`` or ``postgresql://…``.

    ``exclusive`` is for the bridge: it creates and upgrades the schema, and on SQLite keeps a second bridge
    out (StoreLocked). Others never change the schema; they get a StoreError if there is no store.
    Raises StoreUnavailable if the database can't be used.
    """
    database = Database(url, clock)
    lock = None
    try:
        if exclusive:
            lock = _lock_file_store(database)
            await schema.upgrade(database)
            if lock:
                await _take_over(database)
        else:
            await schema.verify(database)
    except BaseException:
        await database.close()
        if lock:
            lock.release()
        raise
    return Store(
        poll=PollRecords(database),
        outbox=DeliveryQueue(database),
        sink_events=SinkEvents(database),
        ledger=LedgerRecords(database),
        housekeeping=Retention(database),
        leadership=Leaders(database),
        silences=SilenceRecords(database),
        chat_actions=ChatActionRecords(database),
        sessions=SessionRecords(database),
        _database=database,
        _lock=lock,
    )


def _lock_file_store(database: Database) -> FileLock | None:
    """Create the folder and the file for this user alone, because error texts and secrets are in it."""
    if database.path is None:
        return None
    with translated(database.label):
        database.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = FileLock(database.path)
        try:
            os.close(os.open(database.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError:
            lock.release()
            raise
    return lock


async def _take_over(database: Database) -> None:
    """End the leases of a bridge that died: nobody else can have left any, and it may have sent those."""
    async with database.write() as connection:
        await clear_leaders(connection)
        await connection.execute(
            update(deliveries)
            .where(pending(), deliveries.c.leased_by.is_not(None))
            .values(leased_by=None, leased_until=None, unclear=true())
        )
