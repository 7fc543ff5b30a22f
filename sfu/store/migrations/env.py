"""What alembic executes for each command: it works on the connection that `sfu.store.migrate` holds."""

from __future__ import annotations

from alembic import context

from sfu.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    # SQLite cannot alter most of a table: alembic then copies it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
