"""Add replicas that share the work: which are there, and what each is ready to lead."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the replicas."""
    op.create_table(
        "replicas",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("names", sa.Text, nullable=False),
        sa.Column("attends_until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="replicas_pk"),
    )
