"""Add postings (messages in place, tickets), acknowledgements, silences and chat actions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the purpose of a delivery, postings, acknowledgements, silences and actions."""
    op.add_column("deliveries", sa.Column("purpose", sa.Text, nullable=False, server_default="tell"))
    op.create_table(
        "postings",
        sa.Column("sink", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("controller", sa.Text),
        sa.Column("job_uid", sa.Text),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("url", sa.Text),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("sink", "subject", name="postings_pk"),
    )
    op.create_index("postings_by_job", "postings", ["controller", "job_uid"])
    op.create_index("postings_by_age", "postings", ["changed_at"])
    op.create_table(
        "acknowledgements",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="acknowledgements_pk"),
    )
    op.create_table(
        "silences",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("starts_at", sa.Double, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="silences_pk"),
    )
    op.create_index("silences_by_end", "silences", ["ends_at"])
    op.create_table(
        "actions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="actions_pk"),
    )
    op.create_index("actions_by_age", "actions", ["at"])
