"""Alembic's folder: one module in ``versions`` for each step of the schema, run when the bridge starts.

A new step is written by hand, like the last one. SQLite can add, rename and drop columns; anything else needs
``op.batch_alter_table``. The contract tests check that the steps lead exactly to ``tables.metadata``.
"""
