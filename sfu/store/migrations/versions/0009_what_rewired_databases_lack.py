"""Add what databases lack that were made while revisions 0004 to 0007 stood in another order.

Such a database carries the number of a revision whose predecessors it never ran. Each step looks first: a
database that ran all of them is left alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_column("sessions", sa.Column("hidden", sa.Boolean(), server_default=sa.false(), nullable=False))
    _add_column("rooms", sa.Column("template", sa.String(length=64), nullable=True))
    for name in ("locked", "lobby", "silenced"):
        _add_column("rooms", sa.Column(name, sa.Boolean(), nullable=True))
    if "ix_messages_room_file" not in _indexes("messages"):
        op.create_index("ix_messages_room_file", "messages", ["room", "file"])
    _samples_once()
    _thresholds()


def _samples_once() -> None:
    indexes = _indexes("telemetry")
    if not indexes.get("ix_telemetry_series"):
        telemetry = sa.table("telemetry", *map(sa.column, ("id", "room", "identity", "series", "at_ms")))
        first = sa.select(sa.func.min(telemetry.c.id)).group_by(
            telemetry.c.room, telemetry.c.identity, telemetry.c.series, telemetry.c.at_ms
        )
        op.execute(sa.delete(telemetry).where(telemetry.c.id.not_in(first)))
        if "ix_telemetry_series" in indexes:
            op.drop_index("ix_telemetry_series", "telemetry")
        columns = ["room", "identity", "series", "at_ms"]
        op.create_index("ix_telemetry_series", "telemetry", columns, unique=True)
    if "ix_telemetry_room" not in indexes:
        op.create_index("ix_telemetry_room", "telemetry", ["room", "at_ms"])


def _thresholds() -> None:
    if sa.inspect(op.get_bind()).has_table("thresholds"):
        return
    op.create_table(
        "thresholds",
        sa.Column("room", sa.String(length=128), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("series", sa.String(length=64), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "identity", "series"),
    )
    for column in ("at_ms", "identity"):
        op.create_index(op.f(f"ix_thresholds_{column}"), "thresholds", [column])


def _add_column(table: str, column: sa.Column[bool] | sa.Column[str]) -> None:
    there = {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}
    if column.name not in there:
        op.add_column(table, column)


def _indexes(table: str) -> dict[str | None, bool]:
    """Names, and whether each is unique."""
    found = sa.inspect(op.get_bind()).get_indexes(table)
    return {each["name"]: bool(each["unique"]) for each in found}
