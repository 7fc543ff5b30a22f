"""Alembic's environment; run by `sfu.store.migrate` at every start."""
