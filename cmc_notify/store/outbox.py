"""The dispatcher's side: claims of deliveries, and the results of their attempts.

A delivery is leased to one owner at a time. Within a sink, deliveries of one ordering key go out one after
the other in the order of their commits; nothing overtakes what it waits for. The holder of a lease that
ran out may have sent the message, so the delivery comes back marked unclear.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, case, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.boundaries import Boundary, reached
from cmc_notify.core import events as documents
from cmc_notify.core.delivery import AttemptResult, DeliveryState
from cmc_notify.core.events import EventType
from cmc_notify.ports import Claim, Posting
from cmc_notify.store.engine import Database, in_chunks
from cmc_notify.store.fallback import send_end_to_fallback, send_to_fallback
from cmc_notify.store.postings import About, load_claim_context, write_posting
from cmc_notify.store.rows import delivery_of
from cmc_notify.store.run_to_completion import runs_to_completion
from cmc_notify.store.supersede import supersede
from cmc_notify.store.tables import deliveries, delivery_parts, delivery_waits, events, pending

_WAIT_RECHECK = 1.0
"""Seconds between checks that the delivery which another waits for, maybe at another sink, is finished."""

_earlier = deliveries.alias("earlier")
_awaited = deliveries.alias("awaited")


class DeliveryQueue:
    """Implements ports.Outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @runs_to_completion
    async def claim(
        self, sink: str, *, owner: str, limit: int, lease: float, in_turn: bool = False
    ) -> Sequence[Claim]:
        """Lease up to ``limit`` due deliveries for ``lease`` seconds, the oldest first, one per key.

        With ``in_turn``, the longest due first, at the cost of reading all that is due.
        """
        # Not the bare column: with its index, a database would collect and sort all that is due, but only
        # the few oldest are wanted.
        due = deliveries.c.due_at + 0 <= self._database.clock()
        order = (deliveries.c.due_at, deliveries.c.seq) if in_turn else (deliveries.c.seq,)
        return await self._lease(sink, due, *order, owner=owner, limit=limit, lease=lease)

    @runs_to_completion
    async def claim_expired(self, sink: str, *, owner: str, limit: int, lease: float) -> Sequence[Claim]:
        """Lease deliveries that have reached their deadline, due or not; otherwise like ``claim``."""
        expired = deliveries.c.deadline_at <= self._database.clock()
        return await self._lease(sink, expired, deliveries.c.seq, owner=owner, limit=limit, lease=lease)

    async def _lease(
        self,
        sink: str,
        wanted: ColumnElement[bool],
        *order: ColumnElement[Any],
        owner: str,
        limit: int,
        lease: float,
    ) -> list[Claim]:
        async with self._database.write() as connection:
            lease_now = await self._database.lease_clock(connection)
            lapsed = deliveries.c.leased_until <= lease_now
            free = or_(deliveries.c.leased_until.is_(None), lapsed)
            first = (
                select(deliveries)
                .where(pending(), deliveries.c.sink == sink, wanted, free)
                .where(_is_head(), ~_waits())
                .order_by(*order)
                .limit(limit)
                # On PostgreSQL, rows that another replica is claiming are left to it.
                .with_for_update(skip_locked=True, of=deliveries)
            )
            rows = (await connection.execute(first)).mappings().all()
            if not rows:
                return []
            by_id, about = await _load_documents(connection, {row["event_id"] for row in rows})
            # Progress that was being sent when a newer event came, and that was not superseded then.
            interim = {
                row["ordering_key"] for row in rows if by_id[row["event_id"]].type is EventType.JOB_PROGRESS
            }
            if interim:
                now = self._database.clock()
                superseded = await supersede(connection, [sink], interim, now=now, lease_now=lease_now)
                rows = [row for row in rows if row["id"] not in superseded]
            leased = update(deliveries).where(deliveries.c.id.in_([row["id"] for row in rows]))
            await connection.execute(
                leased.values(
                    leased_by=owner,
                    leased_until=lease_now + lease,
                    unclear=or_(deliveries.c.unclear, deliveries.c.leased_until.is_not(None)),
                )
            )
            parts = await load_parts(connection, [row["id"] for row in rows])
            context = await load_claim_context(connection, rows, about, now=self._database.clock())
        return [
            Claim(
                msgspec.structs.replace(
                    delivery_of(row, parts.get(row["id"], {})),
                    leased_until=lease_now + lease,
                    unclear=row["unclear"] or row["leased_until"] is not None,
                ),
                by_id[row["event_id"]],
                *msgspec.structs.astuple(context[row["id"]]),
            )
            for row in rows
        ]

    @runs_to_completion
    async def renew(self, delivery_ids: Collection[str], *, owner: str, lease: float) -> frozenset[str]:
        """Lease them for ``lease`` seconds from now on; returns those that ``owner`` still holds.

        A lease that ran out is renewed too, unless another has taken the delivery over.
        """
        ours: set[str] = set()
        async with self._database.write() as connection:
            until = await self._database.lease_clock(connection) + lease
            for chunk in in_chunks(sorted(delivery_ids)):
                renewed = await connection.scalars(
                    update(deliveries)
                    .where(deliveries.c.id.in_(chunk), deliveries.c.leased_by == owner, pending())
                    .values(leased_until=until)
                    .returning(deliveries.c.id)
                )
                ours.update(renewed)
        return frozenset(ours)

    @runs_to_completion
    async def record_part(
        self, delivery_id: str, part: str, receipt: str, *, posting: Posting | None = None
    ) -> None:
        """Record that one part was accepted. It holds for any owner, so the lease is not checked."""
        async with self._database.write() as connection:
            await connection.execute(
                self._database.upsert(delivery_parts).values(
                    delivery_id=delivery_id, part=part, receipt=receipt
                )
            )
            if posting is not None:
                await write_posting(self._database, connection, delivery_id, posting)

    @runs_to_completion
    async def record(self, delivery_id: str, *, owner: str, result: AttemptResult) -> bool:
        """Write the result of an attempt and end the lease; False if ``owner`` no longer holds it.

        The delivery to the fallback is written with it, so that nothing is lost in between.
        """
        finished = result.state is not DeliveryState.PENDING
        values: dict[str, Any] = {
            "state": result.state.value,
            "leased_by": None,
            "leased_until": None,
            "unclear": result.unclear,
            "attempts": deliveries.c.attempts + int(result.counts_as_attempt),
            "finished_at": self._database.clock() if finished else None,
        }
        # A value that is not given stays: a sent delivery still shows why it took three attempts.
        given = {"due_at": result.due_at, "last_error": result.error, "receipt": result.receipt}
        values.update({name: value for name, value in given.items() if value is not None})
        async with self._database.write() as connection:
            recorded = await connection.execute(
                update(deliveries)
                .where(deliveries.c.id == delivery_id, deliveries.c.leased_by == owner, pending())
                .values(**values)
                .returning(deliveries.c.sink, deliveries.c.ordering_key)
            )
            row = recorded.one_or_none()
            if row is None:
                return False
            if not finished:
                # Progress behind which a newer event waits must not be tried again, nor delay that event.
                await supersede(connection, [row.sink], [row.ordering_key], now=self._database.clock())
            if result.fallback:
                write = send_to_fallback if result.state is DeliveryState.DEAD else send_end_to_fallback
                await write(self._database, connection, delivery_id, result.fallback)
            reached(Boundary.DELIVERY_WRITTEN)
        reached(Boundary.DELIVERY_RECORDED)
        return True

    @runs_to_completion
    async def renew_deadlines(self, sink: str) -> None:
        """Give each pending delivery of the sink its whole time again, if half of it is over."""
        now = self._database.clock()
        async with self._database.write() as connection:
            await connection.execute(
                update(deliveries)
                .where(pending(), deliveries.c.sink == sink)
                .where(deliveries.c.deadline_at < now + deliveries.c.patience / 2)
                .values(deadline_at=now + deliveries.c.patience)
            )

    @runs_to_completion
    async def next_due(self, sink: str) -> float | None:
        """Return when the sink's next delivery can be claimed (a past time: now); None if none is pending.

        A delivery that waits for another is checked every second, because the end of the other is unknown.
        """
        now = self._database.clock()
        async with self._database.read() as connection:
            ahead = now - await self._database.lease_clock(connection)
            free_at = func.coalesce(deliveries.c.leased_until + ahead, deliveries.c.due_at)
            ours = (pending(), deliveries.c.sink == sink, _is_head())
            # Nothing can be claimed before its own due time. So after the first one that waits for its due
            # time alone, only those that are due before it are read, not the whole queue.
            first: float | None = await connection.scalar(
                select(deliveries.c.due_at)
                .where(*ours, deliveries.c.leased_until.is_(None), ~_waits())
                .order_by(deliveries.c.due_at)
                .limit(1)
            )
            times = select(
                case(
                    (_waits(), _later(free_at, now + _WAIT_RECHECK)),
                    else_=_later(free_at, deliveries.c.due_at),
                ).label("at")
            ).where(*ours)
            if first is not None:
                times = times.where(deliveries.c.due_at < first)
            held: float | None = await connection.scalar(select(func.min(times.subquery().c.at)))
            return min((at for at in (first, held) if at is not None), default=None)

    @runs_to_completion
    async def next_deadline(self, sink: str) -> float | None:
        """Return the earliest deadline of the sink's pending deliveries; None if none is pending."""
        async with self._database.read() as connection:
            earliest: float | None = await connection.scalar(
                select(func.min(deliveries.c.deadline_at)).where(pending(), deliveries.c.sink == sink)
            )
            return earliest


def _is_head() -> ColumnElement[bool]:
    """Return True if nothing unfinished of the same sink and ordering key was committed earlier."""
    return ~exists().where(
        pending(_earlier),
        _earlier.c.sink == deliveries.c.sink,
        _earlier.c.ordering_key == deliveries.c.ordering_key,
        _earlier.c.seq < deliveries.c.seq,
    )


def _waits() -> ColumnElement[bool]:
    """Return True if it waits for an unfinished delivery. One that was deleted is finished."""
    return exists().where(
        delivery_waits.c.delivery_id == deliveries.c.id,
        _awaited.c.id == delivery_waits.c.waits_for,
        pending(_awaited),
    )


def _later(one: ColumnElement[float], other: ColumnElement[float] | float) -> ColumnElement[float]:
    return case((one > other, one), else_=other)


async def load_parts(connection: AsyncConnection, delivery_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the accepted parts with their receipts, by delivery id."""
    found: dict[str, dict[str, str]] = {}
    for chunk in in_chunks(delivery_ids):
        rows = await connection.execute(select(delivery_parts).where(delivery_parts.c.delivery_id.in_(chunk)))
        for delivery_id, part, receipt in rows:
            found.setdefault(delivery_id, {})[part] = receipt
    return found


async def _load_documents(
    connection: AsyncConnection, event_ids: Collection[str]
) -> tuple[dict[str, documents.Event], dict[str, About]]:
    """Return each event, and what it is about: controller and uid of its job (or "" and a sink's)."""
    found: dict[str, documents.Event] = {}
    about: dict[str, About] = {}
    for chunk in in_chunks(event_ids):
        rows = await connection.execute(
            select(events.c.id, events.c.document, events.c.controller, events.c.job_uid).where(
                events.c.id.in_(chunk)
            )
        )
        for event_id, document, controller, uid in rows:
            found[event_id] = documents.decode(document)
            if uid is not None:
                about[event_id] = (controller, uid)
    return found, about
