"""Add leaders, for several replicas, and the controller of a delivery, for lists of one controller."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    """Add the leaders, the deliveries' controller (which their events know), and their order by due time."""
    op.create_table(
        "leaders",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("leads_until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="leaders_pk"),
    )
    op.add_column("deliveries", sa.Column("controller", sa.Text))
    op.execute(
        "UPDATE deliveries SET controller = "
        "(SELECT events.controller FROM events WHERE events.id = deliveries.event_id)"
    )
    op.create_index("deliveries_by_controller", "deliveries", ["controller", "seq"])
    op.create_index(
        "deliveries_due",
        "deliveries",
        ["sink", "due_at"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
