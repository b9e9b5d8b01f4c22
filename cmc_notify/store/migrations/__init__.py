"""Alembic's folder: one module in ``versions`` for each step of the schema, run when the bridge starts.

A new step is written by hand after the pattern of the last; SQLite needs ``op.batch_alter_table`` for
anything but adding. The contract tests hold that the steps lead exactly to ``tables.metadata``.
"""
