"""Messages and tickets at receivers: read with each claim, written with the part that made them."""

from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import RowMapping, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from cmc_notify.core.ticketing import parse_job_subject
from cmc_notify.ports import Acknowledgement, Posting, Silenced, Ticket
from cmc_notify.store.engine import Database, in_chunks
from cmc_notify.store.rows import dump
from cmc_notify.store.silences import load_active
from cmc_notify.store.tables import acknowledgements, deliveries, events, postings

_NOTES = msgspec.json.Decoder(dict[str, str])
About = tuple[str, str]
"""Controller and uid of what an event is about, as in its row."""


class ClaimContext(msgspec.Struct, frozen=True):
    """A claim's posting, tickets, acknowledgement and silence."""

    posting: Posting | None = None
    tickets: tuple[Ticket, ...] = ()
    acknowledged: Acknowledgement | None = None
    silenced: Silenced | None = None


async def load_claim_context(
    connection: AsyncConnection, claimed: Sequence[RowMapping], about: Mapping[str, About], *, now: float
) -> dict[str, ClaimContext]:
    """Return, by delivery id, the posting at its sink and everything else known about its event.

    ``about`` gives by event id what the event is about, if that is a job or a sink.
    """
    subjects = {row["subject"] for row in claimed}
    own = await _load_own(connection, {row["sink"] for row in claimed}, subjects)
    tickets = await _load_tickets(connection, set(about.values()))
    taken = await _load_acknowledged(connection, subjects)
    silenced = await _load_silenced(connection, now) if claimed else {}
    return {
        row["id"]: ClaimContext(
            own.get((row["sink"], row["subject"])),
            tuple(
                ticket
                for ticket in tickets.get(about.get(row["event_id"], ("", "")), ())
                if (ticket.sink, ticket.subject) != (row["sink"], row["subject"])
            ),
            taken.get(row["subject"]),
            silenced.get(row["subject"]),
        )
        for row in claimed
    }


async def write_posting(
    database: Database, connection: AsyncConnection, delivery_id: str, posting: Posting
) -> None:
    """Write the posting of the delivery's subject at its sink.

    A posting about a job keeps that job, also if another job's success changed it.
    """
    row = (
        await connection.execute(
            select(deliveries.c.sink, deliveries.c.subject, events.c.controller, events.c.job_uid)
            .join(events, events.c.id == deliveries.c.event_id)
            .where(deliveries.c.id == delivery_id)
        )
    ).one_or_none()
    if row is None:  # deleted meanwhile
        return
    controller, job_uid = parse_job_subject(row.subject) or (row.controller, row.job_uid)
    await connection.execute(
        database.upsert(postings).values(
            sink=row.sink,
            subject=row.subject,
            controller=controller,
            job_uid=job_uid,
            reference=posting.reference,
            label=posting.label,
            url=posting.url,
            open=posting.open,
            notes=dump(posting.notes),
            changed_at=database.clock(),
        )
    )


def posting_of(row: RowMapping) -> Posting:
    """Return a row of the table ``postings`` as a domain object."""
    return Posting(
        reference=row["reference"],
        label=row["label"],
        url=row["url"],
        open=row["open"],
        notes=_NOTES.decode(row["notes"]),
    )


def ticket_of(row: RowMapping) -> Ticket:
    """Return the ticket of a row of ``postings`` that has a label."""
    return Ticket(row["sink"], row["subject"], row["label"], row["url"], row["open"])


async def _load_own(
    connection: AsyncConnection, sinks: Collection[str], subjects: Collection[str]
) -> dict[tuple[str, str], Posting]:
    found: dict[tuple[str, str], Posting] = {}
    for chunk in in_chunks(subjects):
        rows = await connection.execute(
            select(postings).where(postings.c.sink.in_(sinks), postings.c.subject.in_(chunk))
        )
        found.update(((row["sink"], row["subject"]), posting_of(row)) for row in rows.mappings())
    return found


async def _load_tickets(
    connection: AsyncConnection, about: Collection[About]
) -> Mapping[About, list[Ticket]]:
    if not about:
        return {}
    rows = await connection.execute(
        select(postings)
        .where(
            postings.c.label.is_not(None),
            tuple_(postings.c.controller, postings.c.job_uid).in_(sorted(about)),
        )
        .order_by(postings.c.sink, postings.c.label)
    )
    found: dict[About, list[Ticket]] = {}
    for row in rows.mappings():
        found.setdefault((row["controller"], row["job_uid"]), []).append(ticket_of(row))
    return found


async def _load_acknowledged(
    connection: AsyncConnection, subjects: Collection[str]
) -> dict[str, Acknowledgement]:
    found: dict[str, Acknowledgement] = {}
    for chunk in in_chunks(subjects):
        rows = await connection.execute(select(acknowledgements).where(acknowledgements.c.subject.in_(chunk)))
        found.update((row.subject, Acknowledgement(row.by, row.at)) for row in rows)
    return found


async def _load_silenced(connection: AsyncConnection, now: float) -> dict[str, Silenced]:
    """Return, by subject, the silence of that one job which is active at ``now`` and ends last."""
    return {
        silence.subject: Silenced(silence.created_by, silence.ends_at, silence.until_job)
        for silence in await load_active(connection, None, now=now)
        if silence.subject is not None
    }
