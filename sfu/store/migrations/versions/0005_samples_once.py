"""Samples once, and thresholds that stay"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    telemetry = sa.table("telemetry", *map(sa.column, ("id", "room", "identity", "series", "at_ms")))
    first = sa.select(sa.func.min(telemetry.c.id)).group_by(
        telemetry.c.room, telemetry.c.identity, telemetry.c.series, telemetry.c.at_ms
    )
    op.execute(sa.delete(telemetry).where(telemetry.c.id.not_in(first)))
    op.drop_index("ix_telemetry_series", "telemetry")
    op.create_index("ix_telemetry_series", "telemetry", ["room", "identity", "series", "at_ms"], unique=True)
    op.create_index("ix_telemetry_room", "telemetry", ["room", "at_ms"], unique=False)
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
        op.create_index(op.f(f"ix_thresholds_{column}"), "thresholds", [column], unique=False)
