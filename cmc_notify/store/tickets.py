"""Queries for tickets and acknowledgements."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Select, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.ports import Acknowledgement, TicketFilter, TicketRow
from cmc_notify.store.engine import in_chunks
from cmc_notify.store.postings import ticket_of
from cmc_notify.store.tables import acknowledgements, events, jobs, postings


async def find_tickets(connection: AsyncConnection, wanted: TicketFilter) -> Sequence[TicketRow]:
    """Return the tickets, the last changed first."""
    query = _tickets(wanted)
    if wanted.subjects is None:
        rows = list((await connection.execute(query.limit(wanted.limit))).mappings())
    else:
        rows = []
        for chunk in in_chunks(wanted.subjects):
            these = query.where(postings.c.subject.in_(chunk)).limit(wanted.limit)
            rows += (await connection.execute(these)).mappings()
        rows.sort(key=lambda row: row["changed_at"], reverse=True)
    return [
        TicketRow(ticket_of(row), row["controller"] or None, row["job_id"], row["changed_at"])
        for row in rows[: wanted.limit]
    ]


async def find_acknowledgements(
    connection: AsyncConnection, subjects: Collection[str]
) -> Mapping[str, Acknowledgement]:
    """Return the acknowledgements by subject."""
    found: dict[str, Acknowledgement] = {}
    for chunk in in_chunks(subjects):
        rows = await connection.execute(select(acknowledgements).where(acknowledgements.c.subject.in_(chunk)))
        found.update((row.subject, Acknowledgement(row.by, row.at)) for row in rows)
    return found


def _tickets(wanted: TicketFilter) -> Select[tuple[object, ...]]:
    its_job = and_(jobs.c.controller == postings.c.controller, jobs.c.uid == postings.c.job_uid)
    query = (
        select(postings, jobs.c.id.label("job_id"))
        .outerjoin(jobs, its_job)
        .where(postings.c.label.is_not(None))
        .order_by(postings.c.changed_at.desc(), postings.c.sink, postings.c.subject)
    )
    if wanted.controller is not None:
        query = query.where(postings.c.controller == wanted.controller)
    if wanted.job_id is not None:
        query = query.where(jobs.c.id == wanted.job_id)
    if wanted.open_only:
        query = query.where(postings.c.open)
    if wanted.event_id is not None:
        about = and_(events.c.controller == postings.c.controller, events.c.job_uid == postings.c.job_uid)
        query = query.join(events, about).where(events.c.id == wanted.event_id)
    return query
