"""Store the words that the program uses now: failures (were incidents), purpose ``notify`` (was ``tell``).

Receivers keep the old word: ``sinks/webhook/ticket_key.py`` makes the same key from the new subject, so a
ticket that was opened before this step is found and closed after it.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_OPEN = sa.text("closed_at IS NULL")
_OLD, _NEW = "incident:", "failure:"
_SUBJECTS = {
    "deliveries": ("subject", "ordering_key"),
    "postings": ("subject",),
    "acknowledgements": ("subject",),
}
"""The columns that hold the subject of a ticket about one failure."""


def upgrade() -> None:
    """Rename the table of failures, the purpose and the subjects, in columns and in documents."""
    _purpose()
    for table, columns in _SUBJECTS.items():
        for column in columns:
            op.execute(
                f"UPDATE {table} SET {column} = '{_NEW}' || substr({column}, {len(_OLD) + 1}) "  # noqa: S608
                f"WHERE substr({column}, 1, {len(_OLD)}) = '{_OLD}'"
            )
    _failures()
    _tickets()


def _purpose() -> None:
    # A new column, because SQLite can't change a default. Most rows have the default, and are not written.
    op.execute("ALTER TABLE deliveries RENAME COLUMN purpose TO purpose_before")
    op.add_column("deliveries", sa.Column("purpose", sa.Text, nullable=False, server_default="notify"))
    op.execute("UPDATE deliveries SET purpose = purpose_before WHERE purpose_before <> 'tell'")
    op.execute("ALTER TABLE deliveries DROP COLUMN purpose_before")


def _failures() -> None:
    """Copy the table: a renamed one would keep the old names of its constraints on SQLite."""
    op.create_table(
        "failures",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("controller", sa.Text, nullable=False),
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("opened_event", sa.Text, nullable=False),
        sa.Column("job_uid", sa.Text, nullable=False),
        sa.Column("last_job_uid", sa.Text, nullable=False),
        sa.Column("closed_at", sa.Double),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="failures_pk"),
    )
    columns = "id, controller, pair, opened_at, opened_event, job_uid, last_job_uid, closed_at"
    # A quote inside a JSON string is escaped, and no other key has an object: this is the field's name alone.
    op.execute(
        f"INSERT INTO failures ({columns}, document) "  # noqa: S608
        f"""SELECT {columns}, replace(document, '"audience":{{', '"notified":{{') FROM incidents"""
    )
    op.drop_table("incidents")
    for name, indexed in {
        "failures_open": ["controller", "opened_at"],
        "failures_by_opening": ["opened_event"],
    }.items():
        op.create_index(name, "failures", indexed, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("failures_by_pair", "failures", ["controller", "pair", "closed_at"])
    op.create_index("failures_by_age", "failures", ["closed_at"])


def _tickets() -> None:
    """Rename the subjects in ``tickets``. An error text may begin with the same word, and stays."""
    failures = sa.table("failures", sa.column("id", sa.Text), sa.column("document", sa.Text))
    connection = op.get_bind()
    rows = connection.execute(
        sa.select(failures.c.id, failures.c.document).where(failures.c.document.contains(f'"{_OLD}'))
    ).all()
    changed = []
    for failure_id, text in rows:
        document = json.loads(text)
        document["tickets"] = {
            sink: [_renamed(subject) for subject in subjects]
            for sink, subjects in document.get("tickets", {}).items()
        }
        renamed = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        changed.append({"of_id": failure_id, "renamed": renamed})
    if changed:
        connection.execute(
            sa.update(failures)
            .where(failures.c.id == sa.bindparam("of_id"))
            .values(document=sa.bindparam("renamed")),
            changed,
        )


def _renamed(subject: str) -> str:
    return _NEW + subject.removeprefix(_OLD) if subject.startswith(_OLD) else subject
