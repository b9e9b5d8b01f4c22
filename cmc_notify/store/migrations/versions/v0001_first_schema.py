"""The first schema: controllers, jobs, events, deliveries, incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_PENDING = sa.text("state = 'pending'")
_OPEN = sa.text("closed_at IS NULL")


def upgrade() -> None:
    """Create every table."""
    _snapshot()
    _events()
    _deliveries()
    _incidents()
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="secrets_pk"),
    )
    op.create_table(
        "marks",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="marks_pk"),
    )


def _snapshot() -> None:
    op.create_table(
        "controllers",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("meta", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="controllers_pk"),
    )
    op.create_table(
        "jobs",
        sa.Column("controller", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("creation_time", sa.BigInteger),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("watch_until", sa.Double),
        sa.Column("discovered", sa.BigInteger, nullable=False),
        sa.Column("order_time", sa.BigInteger, nullable=False),
        sa.Column("pushed", sa.Boolean, nullable=False),
        sa.Column("unlisted_at", sa.Double),
        sa.PrimaryKeyConstraint("controller", "uid", name="jobs_pk"),
    )
    op.create_index("jobs_by_order", "jobs", ["controller", "order_time", "id"])
    op.create_table(
        "job_states",
        sa.Column("controller", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("controller", "uid", name="job_states_pk"),
        sa.ForeignKeyConstraint(
            ["controller", "uid"],
            ["jobs.controller", "jobs.uid"],
            ondelete="CASCADE",
            name="job_states_controller_fk",
        ),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("controller", sa.Text),
        sa.Column("job_uid", sa.Text),
        sa.Column("job_id", sa.BigInteger),
        sa.Column("revision", sa.BigInteger),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("time", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="events_pk"),
        sa.UniqueConstraint("controller", "job_uid", "revision", "type", name="events_once"),
    )
    op.create_index("events_by_controller", "events", ["controller", "id"])
    op.create_index("events_by_job", "events", ["job_id", "id"])
    op.create_index("events_by_age", "events", ["created_at"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("sink", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("ordering_key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("shown", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("deadline_at", sa.Double, nullable=False),
        sa.Column("patience", sa.Double, nullable=False),
        sa.Column("leased_by", sa.Text),
        sa.Column("leased_until", sa.Double),
        sa.Column("unclear", sa.Boolean, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("receipt", sa.Text),
        sa.Column("finished_at", sa.Double),
        sa.PrimaryKeyConstraint("seq", name="deliveries_pk"),
        sa.UniqueConstraint("id", name="deliveries_id_uq"),
        sa.UniqueConstraint("key", name="deliveries_key_uq"),
        sa.UniqueConstraint("event_id", "sink", "subject", name="deliveries_once"),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name="deliveries_event_id_fk"),
        sqlite_autoincrement=True,
    )
    for name, columns in {
        "deliveries_pending": ["sink", "seq"],
        "deliveries_heads": ["sink", "ordering_key", "seq"],
    }.items():
        op.create_index(name, "deliveries", columns, sqlite_where=_PENDING, postgresql_where=_PENDING)
    op.create_index("deliveries_by_state", "deliveries", ["state", "sink"])
    op.create_index("deliveries_by_sink", "deliveries", ["sink", "seq"])
    op.create_index("deliveries_by_age", "deliveries", ["finished_at"])
    op.create_table(
        "delivery_waits",
        sa.Column("delivery_id", sa.Text, nullable=False),
        sa.Column("waits_for", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "waits_for", name="delivery_waits_pk"),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], ondelete="CASCADE", name="delivery_waits_delivery_id_fk"
        ),
    )
    op.create_table(
        "delivery_parts",
        sa.Column("delivery_id", sa.Text, nullable=False),
        sa.Column("part", sa.Text, nullable=False),
        sa.Column("receipt", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "part", name="delivery_parts_pk"),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], ondelete="CASCADE", name="delivery_parts_delivery_id_fk"
        ),
    )


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("controller", sa.Text, nullable=False),
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("opened_event", sa.Text, nullable=False),
        sa.Column("job_uid", sa.Text, nullable=False),
        sa.Column("last_job_uid", sa.Text, nullable=False),
        sa.Column("closed_at", sa.Double),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="incidents_pk"),
    )
    for name, columns in {
        "incidents_open": ["controller", "opened_at"],
        "incidents_telling": ["opened_event"],
    }.items():
        op.create_index(name, "incidents", columns, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("incidents_by_pair", "incidents", ["controller", "pair", "closed_at"])
    op.create_index("incidents_by_age", "incidents", ["closed_at"])
