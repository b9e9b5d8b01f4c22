"""Alembic's entry point: runs the steps on the connection, and in the transaction, of the store."""

from alembic import context

from cmc_notify.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
