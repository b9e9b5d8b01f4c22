"""The tables, the same on SQLite and PostgreSQL: what a query needs is a column, the rest is JSON text.

Times are Unix seconds. The migrations build exactly these tables; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    literal_column,
    text,
)


class SafeText(TypeDecorator[str]):
    """Text from outside (a receiver's response, a name), with characters that databases refuse replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace NUL by U+2400 and a lone surrogate by U+FFFD; everything else stays."""
        del dialect
        if value is None or (value.isascii() and "\0" not in value):
            return value
        clean = value.replace("\0", "\u2400").encode("utf-16-le", "surrogatepass")
        return clean.decode("utf-16-le", "replace")


metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(column_0_name)s_fk",
        "uq": "%(table_name)s_%(column_0_name)s_uq",
    }
)

controllers = Table(
    "controllers",
    metadata,
    Column("name", SafeText, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("meta", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("controller", SafeText, primary_key=True),
    Column("uid", SafeText, primary_key=True),
    Column("id", BigInteger, nullable=False),
    Column("creation_time", BigInteger),
    Column("digest", LargeBinary, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("watch_until", Double),
    Column("discovered", BigInteger, nullable=False),
    Column("order_time", BigInteger, nullable=False),
    Column("pushed", Boolean, nullable=False),
    # The time since which no full list has the job; null while one has it.
    Column("unlisted_at", Double),
    Index("jobs_by_order", "controller", "order_time", "id"),
)

# Separate from ``jobs``, so that a snapshot is read without every job's rows.
job_states = Table(
    "job_states",
    metadata,
    Column("controller", SafeText, primary_key=True),
    Column("uid", SafeText, primary_key=True),
    Column("state", Text, nullable=False),
    ForeignKeyConstraint(["controller", "uid"], ["jobs.controller", "jobs.uid"], ondelete="CASCADE"),
)

events = Table(
    "events",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("controller", SafeText),
    Column("job_uid", SafeText),
    Column("job_id", BigInteger),
    Column("revision", BigInteger),
    Column("type", SafeText, nullable=False),
    Column("time", SafeText, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("document", Text, nullable=False),
    # Two pollers can't announce one change twice. Rows without a job never collide: null equals nothing.
    UniqueConstraint("controller", "job_uid", "revision", "type", name="events_once"),
    Index("events_by_controller", "controller", "id"),
    Index("events_by_job", "job_id", "id"),
    Index("events_by_age", "created_at"),
)

_pending = text("state = 'pending'")

deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", SafeText, nullable=False, unique=True),
    Column("key", SafeText, nullable=False, unique=True),
    Column("event_id", SafeText, ForeignKey("events.id"), nullable=False),
    Column("sink", SafeText, nullable=False),
    Column("subject", SafeText, nullable=False),
    Column("ordering_key", SafeText, nullable=False),
    Column("state", SafeText, nullable=False),
    Column("shown", Text),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("deadline_at", Double, nullable=False),
    # Seconds from commit to deadline: a manual retry gets them again.
    Column("patience", Double, nullable=False),
    Column("leased_by", SafeText),
    Column("leased_until", Double),
    Column("unclear", Boolean, nullable=False),
    Column("last_error", SafeText),
    Column("receipt", SafeText),
    Column("finished_at", Double),
    # The event's controller, to find the newest deliveries of one without reading those of all.
    Column("controller", SafeText),
    Column("purpose", SafeText, nullable=False, server_default="notify"),
    UniqueConstraint("event_id", "sink", "subject", name="deliveries_once"),
    # Finished rows cost a claim nothing: it reads these two indexes, which hold only pending ones.
    Index("deliveries_pending", "sink", "seq", sqlite_where=_pending, postgresql_where=_pending),
    Index(
        "deliveries_heads", "sink", "ordering_key", "seq", sqlite_where=_pending, postgresql_where=_pending
    ),
    Index("deliveries_due", "sink", "due_at", sqlite_where=_pending, postgresql_where=_pending),
    Index("deliveries_by_state", "state", "sink"),
    Index("deliveries_by_sink", "sink", "seq"),
    Index("deliveries_by_controller", "controller", "seq"),
    Index("deliveries_by_age", "finished_at"),
    sqlite_autoincrement=True,
)


def pending(of: FromClause = deliveries) -> ColumnElement[bool]:
    """Return True (in SQL) if a delivery is unfinished.

    The value is a literal: with a bound parameter no partial index would be used.
    """
    return of.c.state == literal_column("'pending'")


delivery_waits = Table(
    "delivery_waits",
    metadata,
    Column("delivery_id", SafeText, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    # No foreign key: a deleted delivery counts as finished.
    Column("waits_for", SafeText, primary_key=True),
)

delivery_parts = Table(
    "delivery_parts",
    metadata,
    Column("delivery_id", SafeText, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    Column("part", SafeText, primary_key=True),
    Column("receipt", SafeText, nullable=False),
)

_open = text("closed_at IS NULL")

failures = Table(
    "failures",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("controller", SafeText, nullable=False),
    # JSON [serial, feature id], so that null compares like any other value.
    Column("pair", Text, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("opened_event", SafeText, nullable=False),
    Column("job_uid", SafeText, nullable=False),
    Column("last_job_uid", SafeText, nullable=False),
    Column("closed_at", Double),
    Column("document", Text, nullable=False),
    Index("failures_open", "controller", "opened_at", sqlite_where=_open, postgresql_where=_open),
    Index("failures_by_opening", "opened_event", sqlite_where=_open, postgresql_where=_open),
    Index("failures_by_pair", "controller", "pair", "closed_at"),
    Index("failures_by_age", "closed_at"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", SafeText, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

marks = Table(
    "marks",
    metadata,
    Column("name", SafeText, primary_key=True),
    Column("at", Double, nullable=False),
)

leaders = Table(
    "leaders",
    metadata,
    Column("name", SafeText, primary_key=True),
    # Null once released. The row is never deleted: its token must never be used again.
    Column("owner", SafeText),
    Column("token", BigInteger, nullable=False),
    Column("leads_until", Double, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    Column("owner", SafeText, primary_key=True),
    # JSON list of the names that it is ready to lead.
    Column("names", Text, nullable=False),
    Column("attends_until", Double, nullable=False),
)

# What is at a receiver for one subject: a message that is updated in place, or a ticket.
postings = Table(
    "postings",
    metadata,
    Column("sink", SafeText, primary_key=True),
    Column("subject", SafeText, primary_key=True),
    # Its job, so that other messages about the job can show it; if it is not about a job, that of the event
    # which changed it last.
    Column("controller", SafeText),
    Column("job_uid", SafeText),
    Column("reference", SafeText, nullable=False),
    # Null if people have no name for it; then it is not shown to them.
    Column("label", SafeText),
    Column("url", SafeText),
    Column("open", Boolean, nullable=False),
    # JSON object.
    Column("notes", SafeText, nullable=False),
    Column("changed_at", Double, nullable=False),
    Index("postings_by_job", "controller", "job_uid"),
    Index("postings_by_age", "changed_at"),
)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("subject", SafeText, primary_key=True),
    Column("by", SafeText, nullable=False),
    Column("at", Double, nullable=False),
)

silences = Table(
    "silences",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("starts_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("document", SafeText, nullable=False),
    Index("silences_by_end", "ends_at"),
)

# What people did or tried to do from chat.
actions = Table(
    "actions",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("at", Double, nullable=False),
    Column("document", SafeText, nullable=False),
    Index("actions_by_age", "at"),
)

# People who signed in at the page; ``id`` and ``token`` are digests.
sessions = Table(
    "sessions",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("name", SafeText, nullable=False),
    Column("right", SafeText, nullable=False),
    Column("began_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("token", SafeText, nullable=False),
    Column("address", SafeText),
)

sign_in_codes = Table(
    "sign_in_codes",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("name", SafeText, nullable=False),
    Column("right", SafeText, nullable=False),
    Column("token", SafeText, nullable=False),
    Column("ends_at", Double, nullable=False),
)
