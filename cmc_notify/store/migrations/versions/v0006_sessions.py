"""Store the sessions of people who signed in at the page, and codes that sign somebody in once."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("right", sa.Text, nullable=False),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.PrimaryKeyConstraint("id", name="sessions_pk"),
    )
    op.create_table(
        "sign_in_codes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("right", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="sign_in_codes_pk"),
    )
